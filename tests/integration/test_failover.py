"""Several engines, as processes: the leader may die, sleep or be replaced, and nothing is lost."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from random import Random

import nats
import pytest
from nats.aio.client import Client as NatsClient
from support.load import Load, running
from support.nats_cluster import cluster
from support.node import Outcome
from support.replicas import Replicas, replicas

from ipledger.engine.client import EngineClient, EngineUnavailableError
from ipledger.engine.commands import Allocate, ApplyPool, Release
from ipledger.engine.engine import Engine
from ipledger.engine.service import EngineService
from ipledger.events.bus import Message, Subscription
from ipledger.events.embedded import EmbeddedServer
from ipledger.events.facts import Address, Pod, PoolSpec
from ipledger.events.jetstream import JetStreamLog
from ipledger.projections.fold import Fold
from ipledger.projections.row_makers import allocation_row
from ipledger.replay.verify import verify

POOL = PoolSpec("pool", 0, "10.64.0.0/16", ips=("10.64.0.1-10.64.250.250",), default=True)


@pytest.fixture
def realm_of_two(
    nats_server: EmbeddedServer, tmp_path: Path, shim: Path, realm: str
) -> Iterator[Replicas]:
    """Two engines and an agent, with a pool. In the end the log must verify."""
    with replicas(tmp_path, nats_server.url, realm, shim) as made:
        made.start(engines=2, agents=1)
        made.apply(POOL)
        yield made
        verified = made.ipledger("verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr


def test_sigkill_of_the_leader_under_load_loses_nothing(realm_of_two: Replicas) -> None:
    realm = realm_of_two
    realm.add_engine().launch()
    load = Load(realm.agents)
    for kill in range(4):
        epoch = realm.epoch()
        with running(load, kill):
            load.goes_on()
            leader = realm.leader()
            leader.kill()
            load.goes_on()
            assert realm.epoch() > epoch
            assert realm.leader() is not leader
        leader.launch()
        leader.wait_ready()
        load.check(realm)
    assert load.held
    assert load.gone


def test_sigkill_of_a_standby_changes_nothing(realm_of_two: Replicas) -> None:
    realm = realm_of_two
    leader, epoch = realm.leader(), realm.epoch()
    (standby,) = [engine for engine in realm.engines if engine is not leader]
    load = Load(realm.agents)
    with running(load, 1):
        load.goes_on()
        standby.kill()
        load.goes_on()
    load.check(realm)
    assert (realm.leader(), realm.epoch()) == (leader, epoch)


def test_a_leader_that_slept_finds_itself_a_standby(realm_of_two: Replicas) -> None:
    realm = realm_of_two
    sleeper = realm.leader()
    (other,) = [engine for engine in realm.engines if engine is not sleeper]
    load = Load(realm.agents)
    with running(load, 1):
        load.goes_on()
        sleeper.send(signal.SIGSTOP)
        try:
            other.becomes("leader")
            load.goes_on()
        finally:
            sleeper.send(signal.SIGCONT)
        sleeper.becomes("standby")
        load.goes_on()
    load.check(realm)
    assert realm.leader() is other


def test_a_leader_that_is_asked_to_stop_hands_over(realm_of_two: Replicas) -> None:
    realm = realm_of_two
    leader = realm.leader()
    load = Load(realm.agents)
    with running(load, 1):
        load.goes_on()
        assert leader.stop() == 0
        load.goes_on()
    load.check(realm)
    assert realm.leader() is not leader


def test_everything_may_be_started_again(realm_of_two: Replicas) -> None:
    realm = realm_of_two
    load = Load(realm.agents)
    with running(load, 1):
        load.goes_on()
    for end in ("stop", "kill"):
        programs = [*realm.engines, *(agent.program for agent in realm.agents)]
        for program in programs:
            assert getattr(program, end)() in (0, None)
        for agent in realm.agents:
            agent.start()
        for engine in realm.engines:
            engine.launch()
        with running(load, 2 if end == "stop" else 3):
            load.goes_on()
        load.check(realm)


def test_programs_wait_for_a_server_that_is_not_there_yet(
    tmp_path: Path, shim: Path, realm: str
) -> None:
    with (
        cluster(tmp_path, size=1) as servers,
        replicas(tmp_path, servers.url, realm, shim) as made,
    ):
        engine, agent = made.add_engine(), made.add_agent()
        engine.launch()
        agent.start()
        engine.line("NATS: .*Connect")
        assert agent.cni("DEL", "early") == Outcome(0, "")
        servers.start(0)
        engine.wait_ready()
        made.apply(POOL)
        assert agent.cni("ADD", "late").addresses == ["10.64.0.1/16"]
        assert (engine.stop(), agent.program.stop()) == (0, 0)


def test_a_broken_log_ends_every_engine_with_what_is_wrong(
    nats_server: EmbeddedServer, tmp_path: Path, shim: Path, realm: str
) -> None:
    async def break_log() -> int:
        nc = await nats.connect(nats_server.url)
        log = await JetStreamLog.open(nc, realm)
        last = await log.last()
        await log.append(b"garbage", after=last)
        with pytest.raises(EngineUnavailableError):  # the leader finds it when it must write
            await EngineClient(nc, realm, timeout_s=2.0).apply(ApplyPool(pool=POOL))
        await nc.close()
        return last + 1

    with replicas(tmp_path, nats_server.url, realm, shim) as made:
        made.start(engines=2, agents=0)
        broken = asyncio.run(break_log())
        for engine in made.engines:
            assert engine.wait() == 3
            assert f"error: commit {broken}: cannot be read" in engine.log.read_text()


class Deaf:
    """A NATS client that hears no heartbeats."""

    def __init__(self, nc: NatsClient) -> None:
        self._nc = nc
        self.new_inbox, self.publish, self.request = nc.new_inbox, nc.publish, nc.request
        self.max_payload = nc.max_payload

    @property
    def is_connected(self) -> bool:
        return self._nc.is_connected

    async def subscribe(
        self,
        subject: str,
        queue: str = "",
        cb: Callable[[Message], Awaitable[None]] | None = None,
    ) -> Subscription:
        heard = self._nc.new_inbox() if subject.endswith(".leader") else subject
        return await self._nc.subscribe(heard, queue, cb)


async def test_engines_that_all_believe_they_lead_append_one_history(
    nats_server: EmbeddedServer, nc: NatsClient, realm: str
) -> None:
    """Deaf to each other, they depose one another without end.

    The load leaves gaps: whoever tries to lead while another commits without a pause finds the
    log gone on each time.
    """
    connections = [await nats.connect(nats_server.url) for _ in range(3)]
    log = await JetStreamLog.create(nc, realm)
    engines: list[Engine] = []
    tasks: list[asyncio.Task[None]] = []
    for number, connection in enumerate(connections):
        own_log = await JetStreamLog.open(connection, realm)
        engine = Engine(own_log, Deaf(connection), realm, f"engine-{number}", random=Random(number))
        await EngineService(engine.bus, engine).start()
        engines.append(engine)
        tasks.append(asyncio.create_task(engine.run()))
    held: dict[str, tuple[Address, ...]] = {}

    async def pods(worker: int) -> None:
        client = EngineClient(nc, realm, timeout_s=60.0)
        number = 0
        while client.position.sequence == 0 or (await client.status()).epoch < 9:
            name = f"w{worker}-{number}"
            number += 1
            pod = Pod("ns", name, name)
            add = Allocate(pod=pod, sandbox=name, interface="eth0", node="n1")
            held[name] = (await client.allocate(add)).allocation.addresses
            if number % 3 == 0:
                await client.release(Release(sandbox=name, interface="eth0", node="n1"))
                del held[name]
            await asyncio.sleep(0.02)

    async with asyncio.timeout(60):
        await EngineClient(nc, realm, timeout_s=60.0).apply(ApplyPool(pool=POOL))
        await asyncio.gather(*(pods(worker) for worker in range(3)))
        for engine in engines:
            engine.stop()
        await asyncio.gather(*tasks)
    fold = Fold()
    async for entry in log.read(0):
        fold.apply(entry)
    live = map(allocation_row, fold.state.allocations.all())
    found = {row.sandbox: row.addresses for row in live}
    assert found == held
    assert (await verify(log)).ok
    for connection in connections:
        await connection.close()
