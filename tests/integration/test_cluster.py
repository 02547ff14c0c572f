"""A JetStream cluster of three servers: what its replicas are for, and what they cannot do."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client as NatsClient
from support.load import Load, running
from support.nats_cluster import Cluster, cluster
from support.program import until
from support.replicas import Replicas, replicas

from ipledger.events import names
from ipledger.events.facts import PoolSpec
from ipledger.events.jetstream import JetStreamLog
from ipledger.events.log import Appended, LogUnavailableError

POOL = PoolSpec("pool", 0, "10.64.0.0/16", ips=("10.64.0.1-10.64.250.250",), default=True)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path) as made:
        made.start(0, 1, 2)
        yield made


@pytest.fixture
def realm_on_three(servers: Cluster, tmp_path: Path, shim: Path, realm: str) -> Iterator[Replicas]:
    """Two engines and an agent on a stream of three replicas. In the end the log must verify."""
    with replicas(tmp_path, servers.url, realm, shim, count=3) as made:
        made.start(engines=2, agents=1)
        made.apply(POOL)
        yield made
        verified = made.ipledger("verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr


def stream_leader(realm: Replicas) -> str:
    """The server that leads the stream."""

    async def ask() -> str:
        nc = await nats.connect(realm.nats_url.split(","))
        info = await nc.jetstream().stream_info(names.stream(realm.realm))
        await nc.close()
        assert info.config.num_replicas == 3
        assert info.cluster is not None
        assert info.cluster.leader is not None
        return info.cluster.leader

    return asyncio.run(ask())


def test_sigkill_of_the_server_that_leads_the_stream_loses_nothing(
    realm_on_three: Replicas, servers: Cluster
) -> None:
    realm = realm_on_three
    victim = servers.number_of(stream_leader(realm))
    load = Load(realm.agents)
    with running(load, 1):
        load.goes_on()
        servers.kill(victim)
        load.goes_on()
        servers.start(victim)
        load.goes_on()
    load.check(realm)


def test_without_a_majority_nothing_is_promised_and_nothing_lost(
    realm_on_three: Replicas, servers: Cluster
) -> None:
    realm = realm_on_three
    impatient = realm.add_agent(timeout_s=2.0)
    impatient.start()
    load = Load(realm.agents[:1])
    with running(load, 1):
        load.goes_on()
        servers.kill(0, 1)
        refused = impatient.cni("ADD", "nobody-can-promise")
        assert (refused.code, refused.json["code"]) == (1, 11)
        assert impatient.cni("DEL", "nobody-can-promise").code == 0
        servers.start(0, 1)
        load.goes_on()
    load.check(realm)
    assert until(lambda: impatient.cni("ADD", "later").code == 0, 30)


async def test_an_append_that_is_refused_because_of_itself_is_no_conflict(
    servers: Cluster, realm: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The stream's leader counts a message once it is proposed, before a majority has it."""
    nc = await nats.connect(servers.url.split(","))
    log = await created(nc, realm)
    assert await log.append(b"one", after=0) == Appended(1)
    info = await log.js.stream_info(names.stream(realm))
    assert info.cluster is not None
    followers = [server for server in servers.servers if server.name != info.cluster.leader]
    await nc.close()
    nc = await nats.connect(servers.urls[servers.number_of(info.cluster.leader or "")])
    log = await JetStreamLog.open(nc, realm)
    for follower in followers:
        follower.send(signal.SIGSTOP)
    append = asyncio.create_task(log.append(b"two", after=1))
    await asyncio.to_thread(
        until, lambda: "refused by JetStream" in caplog.text or append.done(), 30
    )
    for follower in followers:
        follower.send(signal.SIGCONT)
    async with asyncio.timeout(60):
        assert await append == Appended(2)
    await nc.close()


async def created(nc: NatsClient, realm: str) -> JetStreamLog:
    """The realm's log, once the servers have agreed who leads."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await JetStreamLog.create(nc, realm, 3)
            except LogUnavailableError:
                await asyncio.sleep(0.1)
