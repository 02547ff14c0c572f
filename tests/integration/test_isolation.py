"""What one node's key is worth against another node, with a real engine and real keys.

docs/threat-model.md says the same in words.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import nats.errors
import pytest
from nats.aio.client import Client as NatsClient
from support.guarded import Guarded, guarded

from ipledger.engine.answers import Page, Refused
from ipledger.engine.client import EngineClient, EngineUnavailableError, RefusedError
from ipledger.engine.commands import (
    Allocate,
    ApplyPool,
    Attachment,
    Release,
    ReleaseAllocation,
    RetainAttachments,
)
from ipledger.engine.engine import Engine
from ipledger.engine.queries import AllocationsWhere, Attached
from ipledger.engine.refusals import Reason
from ipledger.engine.service import EngineService
from ipledger.events import names
from ipledger.events.facts import Owner, Pod, PoolSpec
from ipledger.events.jetstream import JetStreamLog
from ipledger.events.log import Log
from ipledger.projections.rows import AllocationRow

POOL = PoolSpec("pool", 0, "10.6.0.0/24", ips=("10.6.0.1-10.6.0.9",), default=True)
POD = Pod("shop", "web-1", "uid-1")
CART = Owner("apps/v1", "StatefulSet", "cart", "uid-cart")
ENDED_S = 0.5


@dataclass
class Realm:
    """A served realm: node worker-1 holds an address, the thief has the key of worker.2."""

    servers: Guarded
    log: Log
    admin: EngineClient
    victim: EngineClient
    thief: EngineClient

    async def held(self) -> list[AllocationRow]:
        """What is allocated."""
        pages = self.admin.allocations(AllocationsWhere())
        return [row async for page in pages for row in page.allocations]


@pytest.fixture
async def served(tmp_path: Path, realm: str) -> AsyncGenerator[Realm]:
    async with guarded(tmp_path, realm) as servers:
        nc = await servers.connect("engine")
        log = await JetStreamLog.create(nc, realm)
        engine = Engine(log, nc, realm, "engine-1", alone=True)
        service = EngineService(nc, engine)
        await service.start()
        running = asyncio.create_task(engine.run())
        await engine.ready.wait()
        users = ("admin", "node-worker-1", "node-worker.2")
        admin, victim, thief = [EngineClient(await servers.connect(u), realm) for u in users]
        await admin.apply(ApplyPool(pool=POOL))
        await victim.allocate(
            Allocate(pod=POD, sandbox="s1", interface="eth0", node="worker-1", network="net")
        )
        yield Realm(servers, log, admin, victim, thief)
        assert servers.denied == [] or servers.denied[0].startswith("nats: permissions violation")
        engine.stop()
        await running
        await service.stop()


async def raw(realm: Realm, subject: str, command: msgspec.Struct) -> bytes:
    """What is answered to a command on another subject than its client would use."""
    nc = realm.thief.bus
    answer = await nc.request(subject, msgspec.json.encode(command), timeout=5)
    return answer.data


async def test_nothing_can_be_said_in_the_name_of_another_node(served: Realm) -> None:
    for verb, command in (
        ("release", Release(sandbox="s1", interface="eth0")),
        ("retain", RetainAttachments(network="net", attachments=())),
        ("show", Attached(sandbox="s1", interface="eth0")),
    ):
        subject = names.node_command(served.servers.realm, "worker-1", verb)
        with pytest.raises(nats.errors.TimeoutError):
            await served.thief.bus.request(subject, msgspec.json.encode(command), timeout=0.1)
        assert f'publish to "{subject}"' in served.servers.denied[-1]
    assert len(await served.held()) == 1


async def test_the_node_in_a_payload_is_not_believed(served: Realm) -> None:
    own = served.servers.realm
    for verb, command in (
        ("release", Release(sandbox="s1", interface="eth0", node="worker-1")),
        ("retain", RetainAttachments(network="net", attachments=(), node="worker-1")),
    ):
        await raw(served, names.node_command(own, "worker.2", verb), command)
    (held,) = await served.held()
    assert (held.node, held.sandbox) == ("worker-1", "s1")


async def test_what_another_node_holds_is_not_seen(served: Realm) -> None:
    own = await served.victim.show(Attached(sandbox="s1", interface="eth0", node="worker-1"))
    assert [row.addresses[0].address for row in own.allocations] == ["10.6.0.1/24"]
    query = Attached(sandbox="s1", interface="eth0", node="worker-1")
    subject = names.node_command(served.servers.realm, "worker.2", "show")
    page = msgspec.json.decode(await raw(served, subject, query), type=Page)
    assert page.allocations == ()


async def test_what_another_node_holds_is_not_released(served: Realm) -> None:
    await served.thief.release(Release(sandbox="s1", interface="eth0", node="worker.2"))
    others = (Attachment("s9", "eth0"),)
    retain = RetainAttachments(network="net", attachments=others, node="worker.2")
    assert (await served.thief.retain(retain)).released == ()
    assert len(await served.held()) == 1


async def test_a_live_allocation_of_another_node_is_not_claimed(served: Realm) -> None:
    claim = Allocate(pod=POD, sandbox="s2", interface="eth0", node="worker.2")
    with pytest.raises(RefusedError) as refused:
        await served.thief.allocate(claim)
    assert refused.value.refusal.reason == Reason.OTHER_NODE
    (held,) = await served.held()
    assert (held.node, held.sandbox) == ("worker-1", "s1")


async def test_a_sandbox_of_another_node_is_not_claimed(served: Realm) -> None:
    claim = Allocate(
        pod=Pod("shop", "web-2", "uid-2"), sandbox="s1", interface="eth0", node="worker.2"
    )
    with pytest.raises(RefusedError) as refused:
        await served.thief.allocate(claim)
    assert refused.value.refusal.reason == Reason.SANDBOX_TAKEN


async def test_a_fixed_address_goes_to_who_says_that_its_next_pod_is_there(served: Realm) -> None:
    """The one thing of another node's that a node's key can take (ADR 93); the log says who did."""
    first, second = Pod("shop", "cart-0", "uid-a"), Pod("shop", "cart-0", "uid-b")
    held = Allocate(pod=first, sandbox="c1", interface="eth0", node="worker-1", owner=CART)
    await served.victim.allocate(held)
    claim = msgspec.structs.replace(held, pod=second, sandbox="c2", node="worker.2")
    taken = await served.thief.allocate(claim)
    assert taken.allocation.node == "worker.2"
    last = await served.log.get(await served.log.last())
    assert last is not None
    assert b'"AllocationRebound"' in last.payload
    assert b'"node":"worker.2"' in last.payload


@pytest.mark.parametrize("user", ["node-worker.2", "auditor", "webhook"])
async def test_only_operators_give_orders(served: Realm, user: str) -> None:
    client = EngineClient(await served.servers.connect(user), served.servers.realm, ENDED_S)
    with pytest.raises(EngineUnavailableError):
        await client.release_allocation(ReleaseAllocation(allocation="a1"))
    with pytest.raises(EngineUnavailableError):
        await client.apply(ApplyPool(pool=msgspec.structs.replace(POOL, disable=True)))
    assert len(await served.held()) == 1
    assert not (await served.admin.pools()).pools[0].disable


async def test_an_auditor_reads_and_a_node_does_not(served: Realm) -> None:
    auditor = EngineClient(await served.servers.connect("auditor"), served.servers.realm)
    assert [row.name for row in (await auditor.pools()).pools] == ["pool"]
    thief = EngineClient(served.thief.bus, served.servers.realm, ENDED_S)
    with pytest.raises(EngineUnavailableError):
        await thief.pools()


async def test_an_engine_answers_inboxes_only(served: Realm, nc: NatsClient) -> None:
    """On servers without accounts, too: there a node could have the answer put into the log."""
    realm = f"{served.servers.realm}-open"
    log = await JetStreamLog.create(nc, realm)
    engine = Engine(log, nc, realm, "engine-1", alone=True)
    service = EngineService(nc, engine)
    await service.start()
    running = asyncio.create_task(engine.run())
    await engine.ready.wait()
    last = await log.last()
    confirm = names.node_command(realm, "worker-1", "confirm")
    await nc.publish(confirm, b"{}", reply=names.log_subject(realm))
    await nc.publish(confirm, b"[]", reply=names.log_subject(realm))
    await nc.publish(names.query(realm, "pools"), b"{}", reply=names.log_subject(realm))
    await nc.request(confirm, b"{}", timeout=5)
    assert await log.last() == last
    engine.stop()
    await running
    await service.stop()


@pytest.mark.parametrize(
    ("verb", "payload", "named"),
    [
        ("allocate", b'{"pod":{"namespace":"","name":"p","uid":"u","x":1},"sandbox":"s",'
         b'"interface":"eth0"}', "`x` - at `$.pod`"),
        ("release", b'{"sandbox":"s","interface":"eth0","force":true}', "`force`"),
        ("show", b'{"sandbox":"s","interface":"eth0","everything":true}', "`everything`"),
        ("allocate", b'{"sandbox":"' + b"x" * 1_000_000 + b'"}', "sandbox"),
        ("allocate", b'{"pod":{"namespace":"n","name":"' + b"x" * 500_000 + b'","uid":"u"},'
         b'"sandbox":"s","interface":"eth0"}', "pod.name: "),
        ("allocate", b'{"pod":{"namespace":"n","name":"\\u001b[2J","uid":"u"},'
         b'"sandbox":"s","interface":"eth0"}', "pod.name: '\\x1b[2J'"),
        ("allocate", b'{"pod":{"namespace":"n","name":"p","uid":"u"},"owner":{"apiVersion":"v1",'
         b'"kind":"K","name":"n","uid":"' + b"x" * 254 + b'"},"sandbox":"s","interface":"eth0"}',
         "owner.uid: "),
    ],
)  # fmt: skip
async def test_a_command_that_cannot_be_meant_is_refused_and_changes_nothing(
    served: Realm, verb: str, payload: bytes, named: str
) -> None:
    last = await served.log.last()
    subject = names.node_command(served.servers.realm, "worker.2", verb)
    answer = await served.thief.bus.request(subject, payload, timeout=5)
    refused = msgspec.json.decode(answer.data, type=Refused)
    assert refused.refusal.reason in (Reason.BAD_REQUEST, Reason.INVALID_FIELD)
    assert named in refused.refusal.message
    assert await served.log.last() == last
