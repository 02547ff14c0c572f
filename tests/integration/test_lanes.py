"""A node that floods stands in a line of its own: the others are heard as if it were not there.

The crowd's connection is made to stand still as soon as it has something to drop, as a flood that
comes faster than it is read does; no test needs one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import nats
import nats.errors
import pytest
from nats.aio.client import Client as NatsClient

from ipledger.engine.client import EngineClient
from ipledger.engine.commands import Allocate, ApplyPool
from ipledger.engine.engine import Engine
from ipledger.engine.lanes import Lanes
from ipledger.engine.patience import ANSWERS_A_SECOND
from ipledger.engine.queries import Attached
from ipledger.engine.service import EngineService
from ipledger.events import names
from ipledger.events.bus import Message
from ipledger.events.client import Client
from ipledger.events.embedded import EmbeddedServer
from ipledger.events.facts import Pod, PoolSpec
from ipledger.events.jetstream import JetStreamLog

POOL = PoolSpec("pool", 4, "10.6.0.0/16", ips=("10.6.0.1-10.6.9.0",), default=True)
FOR_EVER_S = 3600.0


@dataclass
class Asked:
    """An engine with two lanes, and somebody who asks it."""

    lanes: Lanes
    nc: NatsClient
    realm: str

    @property
    def client(self) -> EngineClient:
        """A client that is patient."""
        return EngineClient(self.nc, self.realm, 30.0)

    async def answers(self, node: str, within_s: float) -> bool:
        """Whether a node is answered."""
        subject = names.node_command(self.realm, node, "confirm")
        with contextlib.suppress(nats.errors.TimeoutError):
            await self.nc.request(subject, b"{}", timeout=within_s)
            return True
        return False

    async def flood(self, node: str) -> None:
        """Send more garbage than is answered in a second."""
        subject = names.node_command(self.realm, node, "allocate")
        for _ in range(5 * ANSWERS_A_SECOND):
            await self.nc.publish(subject, b'{"pod":[')
        await self.nc.flush()

    async def keeps_apart(self, node: str) -> None:
        """Have another node flood until this one is on the clear lane alone."""
        confirm = names.node_command(self.realm, node, "confirm").encode()
        assert await self.answers(node, 30)
        async with asyncio.timeout(30):
            while not self.lanes.crowd.is_deaf_to(confirm):
                await self.flood("flooding")

    async def is_stuck(self) -> None:
        """Have the crowd's lane stand still behind a flood."""
        self.lanes.crowd.pause_s = FOR_EVER_S
        number = 0
        while await self.answers(f"unheard-{number}", 0.2):
            number += 1
            await self.flood("flooding")


@pytest.fixture
async def asked(nats_server: EmbeddedServer, nc: NatsClient, realm: str) -> AsyncGenerator[Asked]:
    clear, crowd = Client(), Client()
    for lane in (clear, crowd):
        await lane.connect(nats_server.url)
    log = await JetStreamLog.create(nc, realm)
    engine = Engine(log, nc, realm, "engine-1", alone=True)
    lanes = Lanes(clear, crowd, realm)
    service = EngineService(lanes, engine)
    lanes.is_over = service.patience.is_over
    await service.start()
    running = asyncio.create_task(engine.run())
    await engine.ready.wait()
    await crowd.flush()
    asking = await nats.connect(nats_server.url)
    made = Asked(lanes, asking, realm)
    await made.client.apply(ApplyPool(pool=POOL))
    yield made
    engine.stop()
    await running
    await service.stop()
    for connection in (asking, clear, crowd):
        await connection.close()


async def test_who_was_heard_before_does_not_stand_behind_a_flood(asked: Asked) -> None:
    assert await asked.answers("good", 30)
    await asked.is_stuck()
    assert not await asked.answers("flooding", 0.1)
    pod = Pod("ns", "web", "web")
    add = Allocate(pod=pod, sandbox="s1", interface="eth0", node="good")
    assert (await asked.client.allocate(add)).allocation.addresses
    assert (await asked.client.pools()).pools


async def test_who_flooded_is_served_when_it_does_no_more(asked: Asked) -> None:
    await asked.flood("flooding")
    assert (await asked.client.confirm("flooding")).outcome == "unchanged"


async def test_nothing_is_heard_twice_or_not_at_all_on_the_way_between_the_lanes(
    asked: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody sends before another one floods, meanwhile, and when all are heard as before."""
    asked.lanes.quiet_s = 1.5
    answered: Counter[str] = Counter()

    async def count(message: Message) -> None:
        answered[message.subject] += 1

    inbox = asked.nc.new_inbox()
    await asked.nc.subscribe(f"{inbox}.*", cb=count)
    subject = names.node_command(asked.realm, "good", "confirm")
    clock, sent = asyncio.get_running_loop().time, 0
    ends, flood_at = clock() + 4, clock() + 0.5
    while clock() < ends:
        await asked.nc.publish(subject, b"{}", reply=f"{inbox}.{sent}")
        sent += 1
        if clock() > flood_at and "node flooding floods" not in caplog.text:
            await asked.flood("flooding")
        await asyncio.sleep(0.002)
    async with asyncio.timeout(30):
        while len(answered) < sent:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert await asked.answers("good", 30)
    assert set(answered.values()) == {1}
    assert "node flooding floods" in caplog.text


async def test_all_that_a_new_node_sends_at_once_beside_a_flood_is_answered(
    asked: Asked,
) -> None:
    await asked.keeps_apart("good")
    inbox = asked.nc.new_inbox()
    answers = await asked.nc.subscribe(inbox)
    subject = names.node_command(asked.realm, "new", "release")
    for number in range(50):
        command = b'{"sandbox":"s%d","interface":"eth0"}' % number
        await asked.nc.publish(subject, command, reply=inbox)
    for _ in range(50):
        assert b"Released" in (await answers.next_msg(30)).data


async def test_who_is_kept_apart_is_shown_what_it_holds(asked: Asked) -> None:
    pod = Pod("ns", "web", "web")
    add = Allocate(pod=pod, sandbox="s1", interface="eth0", node="good")
    held = (await asked.client.allocate(add)).allocation
    query = Attached(sandbox="s1", interface="eth0", node="good")
    await asked.keeps_apart("good")
    assert (await asked.client.show(query)).allocations == (held,)
