"""GC and STATUS of CNI 1.1.0 through the shim, with an engine whose clock the test moves.

No runtime or main plugin of Debian 12 speaks 1.1.0, so that the shim is called as they would.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import pytest_asyncio
from nats.aio.client import Client as NatsClient
from support.desk import SECOND, Clock
from support.node import Node, Outcome, run_cni

from ipledger.cni.agent import Agent
from ipledger.cni.handler import CniHandler
from ipledger.cni.outbox import Outbox
from ipledger.cni.outbox_sqlite import SqliteStore
from ipledger.engine.client import EngineClient
from ipledger.engine.commands import ApplyPool
from ipledger.engine.engine import Engine
from ipledger.engine.metrics.exposition import Exposition
from ipledger.engine.queries import AllocationsWhere
from ipledger.engine.service import EngineService
from ipledger.events.facts import PoolSpec
from ipledger.events.jetstream import JetStreamLog

POOL = PoolSpec("pool", 0, "10.66.0.0/24", ips=("10.66.0.1-10.66.0.9",), default=True)
TWO_MINUTES = 120 * SECOND


class Runtime:
    """A runtime of CNI 1.1.0 on one node."""

    def __init__(self, shim: Path, socket: Path, client: EngineClient) -> None:
        self.shim, self.socket, self.client = shim, socket, client

    async def call(
        self, command: str, sandbox: str = "", keys: Mapping[str, Any] = MappingProxyType({})
    ) -> Outcome:
        config = {
            "cniVersion": "1.1.0",
            "name": "net",
            "ipam": {"type": "ipledger", "socket": str(self.socket)},
            **keys,
        }
        env = {} if sandbox else {"CNI_CONTAINERID": None, "CNI_IFNAME": None, "CNI_NETNS": None}
        return await asyncio.to_thread(run_cni, str(self.shim), command, sandbox, config, **env)

    async def gc(self, *sandboxes: str, key: str = "cni.dev/valid-attachments") -> Outcome:
        valid = [{"containerID": sandbox, "ifname": "eth0"} for sandbox in sandboxes]
        return await self.call("GC", keys={key: valid})

    async def sandboxes(self) -> list[str]:
        pages = self.client.allocations(AllocationsWhere())
        return [row.sandbox async for page in pages for row in page.allocations]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def runtime(
    nc: NatsClient, realm: str, clock: Clock, shim: Path, tmp_path: Path
) -> AsyncGenerator[Runtime]:
    log = await JetStreamLog.create(nc, realm)
    engine = Engine(log, nc, realm, "engine-1", clock=clock, alone=True)
    service = EngineService(nc, engine)
    await service.start()
    running = asyncio.create_task(engine.run())
    await engine.ready.wait()
    client = EngineClient(nc, realm)
    await client.apply(ApplyPool(pool=POOL))
    store = await SqliteStore.open(tmp_path / "agent.db")
    handler = CniHandler(client, Outbox(store, "node-1"), "node-1")
    agent = Agent(handler, client, tmp_path / "agent.sock", Exposition(realm))
    await agent.start()
    yield Runtime(shim, tmp_path / "agent.sock", client)
    await agent.stop()
    await store.close()
    engine.stop()
    await running
    await service.stop()


@pytest.mark.parametrize("key", ["cni.dev/valid-attachments", "cni.dev/attachments"])
async def test_gc_releases_what_the_runtime_does_not_list(
    runtime: Runtime, clock: Clock, key: str
) -> None:
    for sandbox in ("kept", "lost", "gone"):
        assert (await runtime.call("ADD", sandbox)).code == 0
    clock.now += TWO_MINUTES
    assert (await runtime.call("ADD", "fresh")).code == 0

    assert await runtime.gc("kept", key=key) == Outcome(0, "")

    assert await runtime.sandboxes() == ["kept", "fresh"]
    assert await runtime.gc("kept", "fresh", key=key) == Outcome(0, "")
    assert await runtime.sandboxes() == ["kept", "fresh"]


async def test_a_runtime_without_attachments_may_say_null(runtime: Runtime, clock: Clock) -> None:
    await runtime.call("ADD", "lost")
    clock.now += TWO_MINUTES
    assert await runtime.call("GC", keys={"cni.dev/valid-attachments": None}) == Outcome(0, "")
    assert await runtime.sandboxes() == []


async def test_a_gc_without_a_list_is_an_error_and_frees_nothing(
    runtime: Runtime, clock: Clock
) -> None:
    await runtime.call("ADD", "kept")
    clock.now += TWO_MINUTES
    error = (await runtime.call("GC")).json
    assert (error["code"], error["cniVersion"]) == (7, "1.1.0")
    assert "cni.dev/valid-attachments" in error["msg"]
    assert await runtime.sandboxes() == ["kept"]


async def test_status_succeeds_while_an_engine_leads(runtime: Runtime) -> None:
    assert await runtime.call("STATUS") == Outcome(0, "")


def test_status_is_code_50_while_the_log_cannot_be_reached(node: Node) -> None:
    config = node.config("1.1.0")
    assert node.cni("STATUS", "", config, CNI_CONTAINERID=None) == Outcome(0, "")
    server = node.server_pid()
    os.kill(server, signal.SIGSTOP)
    try:
        error = node.cni("STATUS", "", config, CNI_CONTAINERID=None).json
    finally:
        os.kill(server, signal.SIGCONT)
    assert (error["code"], error["cniVersion"]) == (50, "1.1.0")
