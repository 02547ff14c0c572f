"""Load beyond capacity: the queue is bounded, the rest may try again, nothing acknowledged is lost.

Commands come over one real nats-server and the log is on another, which is stopped (SIGSTOP) as a
disk that does not answer is: the engine hears on, and cannot commit. Or its disk is slow: strace
has each fsync take its time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import nats
import pytest
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from support.desk import Clock

from ipledger.engine.answers import Allocated, AnyAnswer, Refused, TryAgain
from ipledger.engine.client import EngineClient
from ipledger.engine.commands import Allocate, ApplyPool
from ipledger.engine.engine import Engine, Role
from ipledger.engine.queries import AllocationsWhere
from ipledger.engine.service import LONG_MAX, EngineService
from ipledger.engine.waiting import NODE_MAX, QUEUE_MAX
from ipledger.events import names
from ipledger.events.embedded import EmbeddedServer
from ipledger.events.facts import Pod, PoolSpec
from ipledger.events.jetstream import JetStreamLog
from ipledger.replay.verify import verify

POOL = PoolSpec("pool", 0, "10.0.0.0/8", ips=("10.0.0.1-10.9.0.0",), default=True)
NODES = 80
PATIENCE_S = 120.0
FSYNC_US = 700_000
ATTACHED = b'{"sandbox":"s1","interface":"eth0"}'


@dataclass
class Asked:
    """Commands that were sent without waiting, and the answers that have come."""

    nc: NatsClient
    realm: str
    sent: int = 0
    answers: list[AnyAnswer] = field(default_factory=list[AnyAnswer])
    _inbox: str = ""

    async def listen(self) -> None:
        """Collect answers from here on."""
        self._inbox = self.nc.new_inbox()
        await self.nc.subscribe(self._inbox, cb=self._on_answer)

    async def _on_answer(self, message: Msg) -> None:
        self.answers.append(msgspec.json.decode(message.data, type=AnyAnswer))

    async def send(self, node: str, payload: bytes) -> None:
        """Send one command of a node."""
        await self.ask(names.node_command(self.realm, node, "allocate"), payload)

    async def ask(self, subject: str, payload: bytes) -> None:
        """Send anything."""
        self.sent += 1
        await self.nc.publish(subject, payload, reply=self._inbox)

    async def add(self, node: str, **more: object) -> None:
        """Send an ADD of a new pod."""
        uid = f"pod-{self.sent}"
        pod = {"namespace": "ns", "name": uid, "uid": uid}
        command = {"pod": pod, "sandbox": uid, "interface": "eth0", **more}
        await self.send(node, json.dumps(command).encode())

    def counts(self) -> Counter[str]:
        """How many answers of each kind have come."""
        return Counter(type(answer).__name__ for answer in self.answers)

    async def come(self, count: int) -> None:
        """Wait until so many answers have come."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.answers) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@dataclass
class Overloaded:
    """An engine that leads, its clients, and the server of its log."""

    engine: Engine
    log: JetStreamLog
    client: EngineClient
    asked: Asked
    disk: EmbeddedServer

    @contextlib.asynccontextmanager
    async def stuck(self) -> AsyncGenerator[None]:
        """The log's server stands still, with a commit on its way."""
        os.kill(self.disk.pid, signal.SIGSTOP)
        try:
            await self.asked.add("first")
            await self.waits(0)
            yield
        finally:
            os.kill(self.disk.pid, signal.SIGCONT)

    @contextlib.asynccontextmanager
    async def slow(self, log: Path) -> AsyncGenerator[None]:
        """Each fsync of the log's server takes longer than the engine waits for an append."""
        calls = "fsync,fdatasync"
        inject = ("-e", f"trace={calls}", "-e", f"inject={calls}:delay_enter={FSYNC_US}")
        command = ("strace", "-f", "-o", str(log), *inject, "-p", str(self.disk.pid))
        tracing = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        assert tracing.stderr is not None
        assert b"attached" in await tracing.stderr.readline()
        try:
            yield
        finally:
            tracing.terminate()
            await tracing.wait()

    async def waits(self, count: int) -> None:
        """Wait until the engine has heard everything, and so much waits."""
        async with asyncio.timeout(PATIENCE_S):
            await self.client.bus.request("$SYS.REQ.USER.INFO", b"", 5.0)
            while self.waiting != count:  # noqa: ASYNC110  # the engine tells nobody
                await asyncio.sleep(0.01)

    @property
    def waiting(self) -> int:
        """How many requests the engine has that are not decided."""
        loop = self.engine._loop  # pyright: ignore[reportPrivateUsage]
        return loop.waiting if loop is not None else -1

    async def is_whole(self) -> None:
        """The log verifies and has what was acknowledged; the engine leads and serves."""
        report = await verify(self.log)
        assert report.ok, report
        acknowledged = [a.allocation for a in self.asked.answers if isinstance(a, Allocated)]
        live = {
            row.id
            async for page in self.client.allocations(AllocationsWhere())
            for row in page.allocations
        }
        assert {allocation.id for allocation in acknowledged} <= live
        addresses = [held.address for a in acknowledged for held in a.addresses]
        assert len(addresses) == len(set(addresses))
        assert self.engine.role is Role.LEADER
        assert self.waiting == 0
        one_more = Allocate(
            pod=Pod("ns", "more", "more"), sandbox="more", interface="eth0", node="n"
        )
        assert (await self.client.allocate(one_more)).allocation.addresses


@contextlib.asynccontextmanager
async def overloaded(
    nats_server: EmbeddedServer, realm: str, folder: Path
) -> AsyncGenerator[Overloaded]:
    disk = EmbeddedServer(folder / "disk")
    await disk.start()
    log_nc, bus, asking = [
        await nats.connect(url) for url in (disk.url, nats_server.url, nats_server.url)
    ]
    log = await JetStreamLog.create(log_nc, realm)
    engine = Engine(log, bus, realm, "engine-1", clock=Clock(), alone=True)
    service = EngineService(bus, engine)
    await service.start()
    running = asyncio.create_task(engine.run())
    try:
        await engine.ready.wait()
        await bus.flush()
        client = EngineClient(asking, realm, PATIENCE_S)
        await client.apply(ApplyPool(pool=POOL))
        asked = Asked(asking, realm)
        await asked.listen()
        yield Overloaded(engine, log, client, asked, disk)
    finally:
        engine.stop()
        await running
        await service.stop()
        for nc in (log_nc, bus, asking):
            await nc.close()
        await disk.stop()


async def test_ten_thousand_commands_wait_for_a_disk_and_more_may_try_again_at_once(
    nats_server: EmbeddedServer, realm: str, tmp_path: Path
) -> None:
    async with overloaded(nats_server, realm, tmp_path) as o:
        async with o.stuck():
            for number in range(QUEUE_MAX + 1000):
                await o.asked.add(f"node-{number % NODES}")
            await o.waits(QUEUE_MAX)
            await o.asked.come(1000)
            assert o.asked.counts() == {"TryAgain": 1000}
        await o.asked.come(o.asked.sent)
        assert o.asked.counts() == {"TryAgain": 1000, "Allocated": QUEUE_MAX + 1}
        await o.is_whole()


async def test_a_node_that_floods_leaves_the_room_of_the_others(
    nats_server: EmbeddedServer, realm: str, tmp_path: Path
) -> None:
    async with overloaded(nats_server, realm, tmp_path) as o:
        async with o.stuck():
            for _ in range(10 * NODE_MAX):
                await o.asked.add("flooding")
            await o.waits(NODE_MAX)
            for number in range(NODES):
                await o.asked.add(f"node-{number}")
            await o.waits(NODE_MAX + NODES)
            assert {type(answer) for answer in o.asked.answers} <= {TryAgain}
        await o.asked.come(1 + NODE_MAX + NODES)
        await o.is_whole()
        assert o.asked.counts()["Allocated"] == 1 + NODE_MAX + NODES


async def test_a_node_that_floods_with_garbage_is_told_so_often_and_changes_nothing(
    nats_server: EmbeddedServer, realm: str, tmp_path: Path
) -> None:
    async with overloaded(nats_server, realm, tmp_path) as o:
        before = await o.log.last()
        for _ in range(5000):
            await o.asked.send("flooding", b'{"pod":[')
        await o.waits(0)
        await o.client.status()
        assert await o.log.last() == before
        assert {type(answer) for answer in o.asked.answers} <= {Refused}
        assert 0 < len(o.asked.answers) < 5000
        await o.is_whole()


async def test_a_node_that_floods_with_questions_leaves_the_room_of_operators(
    nats_server: EmbeddedServer, realm: str, tmp_path: Path
) -> None:
    async with overloaded(nats_server, realm, tmp_path) as o:
        async with o.stuck():
            for _ in range(10 * NODE_MAX):
                await o.asked.ask(names.node_command(realm, "flooding", "show"), ATTACHED)
            await o.waits(NODE_MAX)
            await o.asked.ask(names.query(realm, "status"), b"{}")
            await o.waits(NODE_MAX + 1)
        async with asyncio.timeout(PATIENCE_S):
            while "Status" not in o.asked.counts():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await o.is_whole()


async def test_long_commands_take_the_room_of_several(
    nats_server: EmbeddedServer, realm: str, tmp_path: Path
) -> None:
    async with overloaded(nats_server, realm, tmp_path) as o:
        async with o.stuck():
            for _ in range(20):
                await o.asked.add("flooding", labels={"app": "x" * 500_000})
            await o.asked.add("other")
            await o.waits(3 + 1)
        await o.asked.come(1 + 3 + 1)
        await o.is_whole()


async def test_only_a_few_long_questions_are_answered_at_once(
    nats_server: EmbeddedServer, realm: str, tmp_path: Path
) -> None:
    async with overloaded(nats_server, realm, tmp_path) as o:
        async with o.stuck():
            for _ in range(50):
                await o.asked.ask(names.query(realm, "allocations"), b"{}")
                await o.asked.ask(names.query(realm, "check"), b'{"commands":[]}')
            await o.waits(LONG_MAX)
            await o.asked.come(100 - LONG_MAX)
            assert o.asked.counts() == {"TryAgain": 100 - LONG_MAX}
        await o.asked.come(101)
        assert o.asked.counts()["Page"] + o.asked.counts()["Checked"] == LONG_MAX
        await o.is_whole()


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
async def test_on_a_slow_disk_everybody_is_served_and_a_node_that_floods_may_try_again(
    nats_server: EmbeddedServer, realm: str, tmp_path: Path
) -> None:
    async with overloaded(nats_server, realm, tmp_path) as o:
        async with o.slow(tmp_path / "strace.txt"):
            await o.asked.add("first")
            for _ in range(4 * NODE_MAX):
                await o.asked.add("flooding")
            for number in range(NODES):
                await o.asked.add(f"node-{number}")
            async with asyncio.timeout(PATIENCE_S):
                while o.asked.counts()["Allocated"] < 1 + NODE_MAX + NODES:
                    assert o.waiting <= NODE_MAX + NODES + 1
                    await asyncio.sleep(0.01)
        assert set(o.asked.counts()) == {"Allocated", "TryAgain"}
        assert "DELAYED" in (tmp_path / "strace.txt").read_text()
        await o.is_whole()


async def test_a_check_of_too_many_changes_is_refused(
    nats_server: EmbeddedServer, realm: str, tmp_path: Path
) -> None:
    many = b",".join([b'{"type":"DeletePool","name":"p"}'] * 1001)
    async with overloaded(nats_server, realm, tmp_path) as o:
        await o.asked.ask(names.query(realm, "check"), b'{"commands":[' + many + b"]}")
        await o.asked.come(1)
        (refused,) = o.asked.answers
        assert isinstance(refused, Refused)
        assert "length <= 1000 - at `$.commands`" in refused.refusal.message
