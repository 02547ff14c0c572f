"""What the agent alone can know: which calls of its runtime have overtaken which."""

from __future__ import annotations

import asyncio
import json
from random import Random

import pytest
from multidict import CIMultiDict
from support.memory_bus import MemoryBus, Sent
from support.memory_store import MemoryStore
from support.realm import REALM, Realm, realm
from support.virtual_time import in_virtual_time

from ipledger.cni.errors import CniError
from ipledger.cni.handler import CniHandler
from ipledger.cni.outbox import Outbox
from ipledger.cni.request import CniRequest, parse
from ipledger.engine.client import EngineClient
from ipledger.engine.commands import ApplyPool, Steps
from ipledger.engine.waiting import NODE_MAX
from ipledger.events import commit
from ipledger.events.facts import PoolSpec
from ipledger.events.types import AnyEvent

POOL = PoolSpec("pool", 0, "10.0.0.0/24", ips=("10.0.0.1-10.0.0.9",), default=True)


def call(command: str, sandbox: str) -> CniRequest:
    headers = {
        "Cni-Command": command,
        "CNI-CONTAINERID": sandbox,
        "CNI-IFNAME": "eth0",
        "CNI-NETNS": "/n",
    }
    return parse(CIMultiDict(headers), b'{"cniVersion":"1.0.0","name":"net"}')


def agent(r: Realm) -> CniHandler:
    client = EngineClient(MemoryBus(r.net), REALM, random=Random("agent"))
    return CniHandler(client, Outbox(MemoryStore(), "n1"), "n1", add_timeout_s=60.0)


def events(r: Realm) -> list[AnyEvent]:
    return [event for payload in r.log.payloads for event in commit.decode(payload).events]


@in_virtual_time
async def test_a_del_ends_an_add_that_is_still_being_tried() -> None:
    async with realm() as r:
        handler = agent(r)
        adding = asyncio.create_task(handler.handle(call("ADD", "s1"), Steps()))
        await asyncio.sleep(5)
        assert (await handler.handle(call("DEL", "s1"), Steps())).body == b""
        with pytest.raises(CniError, match="s1 interface eth0 was deleted") as told:
            await adding
        assert told.value.code == 104
        await r.leader("engine")
        await r.client().apply(ApplyPool(pool=POOL))
        await asyncio.sleep(60)
        assert "AddressesAllocated" not in [type(event).__name__ for event in events(r)]


@in_virtual_time
async def test_an_add_behind_its_del_is_refused_by_the_agent_itself() -> None:
    async with realm() as r:
        handler = agent(r)
        await handler.handle(call("DEL", "s1"), Steps())
        with pytest.raises(CniError, match="was deleted"):
            await handler.handle(call("ADD", "s1"), Steps())


@in_virtual_time
async def test_a_del_of_another_sandbox_leaves_an_add_alone() -> None:
    async with realm() as r:
        handler = agent(r)
        adding = asyncio.create_task(handler.handle(call("ADD", "s1"), Steps()))
        await handler.handle(call("DEL", "s2"), Steps())
        await r.leader("engine")
        await r.client().apply(ApplyPool(pool=POOL))
        assert json.loads((await adding).body)["ips"] == [{"address": "10.0.0.1/24"}]


@in_virtual_time
async def test_a_node_has_no_more_adds_with_the_engine_than_the_engine_lets_wait() -> None:
    async with realm() as r:
        member = await r.leader("one")
        pool = PoolSpec("pool", 0, "10.0.0.0/16", ips=("10.0.0.1-10.0.9.0",), default=True)
        await r.client().apply(ApplyPool(pool=pool))
        most = 0

        class Watched(MemoryBus):
            asked = 0

            async def request(
                self,
                subject: str,
                payload: bytes,
                timeout: float,  # noqa: ASYNC109
                *,
                headers: dict[str, str] | None = None,
            ) -> Sent:
                nonlocal most
                self.asked += 1
                most = max(most, self.asked)
                try:
                    return await super().request(subject, payload, timeout, headers=headers)
                finally:
                    self.asked -= 1

        client = EngineClient(Watched(r.net), REALM)
        handler = CniHandler(client, Outbox(MemoryStore(), "n1"), "n1")
        calls = [handler.handle(call("ADD", f"s{n}"), Steps()) for n in range(3 * NODE_MAX)]
        addresses = {
            json.loads(handled.body)["ips"][0]["address"]
            for handled in await asyncio.gather(*calls)
        }
        assert len(addresses) == 3 * NODE_MAX
        assert NODE_MAX // 2 < most < NODE_MAX
        assert member.running.done() is False


@in_virtual_time
async def test_adds_beyond_all_bounds_may_try_again_at_once_and_dels_are_kept() -> None:
    async with realm() as r:
        outbox = Outbox(MemoryStore(), "n1")
        handler = CniHandler(EngineClient(MemoryBus(r.net), REALM), outbox, "n1")
        waiting = [
            asyncio.create_task(handler.handle(call("ADD", f"s{n}"), Steps())) for n in range(4096)
        ]
        await asyncio.sleep(0)
        with pytest.raises(CniError, match="4096 ADDs are in progress") as raised:
            await handler.handle(call("ADD", "one-more"), Steps())
        assert raised.value.code == 11
        await handler.handle(call("DEL", "other"), Steps())
        assert await outbox.store.count() == 1
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert {error.code for error in ended if isinstance(error, CniError)} == {11}
        assert len(ended) == 4096
        with pytest.raises(CniError, match="cannot be reached"):
            await handler.handle(call("ADD", "later"), Steps())
