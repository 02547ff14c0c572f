"""Each command's stdout, stderr and exit code, against the transcripts in snapshots/.

See `support.transcripts`.
"""

from __future__ import annotations

import pytest
from nats.aio.client import Client as NatsClient
from support.apiserver import ApiServer
from support.chains import chain
from support.spiderpool import small, v4
from support.terminal import MANIFESTS, Cli, Clock
from support.transcripts import SNAPSHOTS, check

from ipledger.engine.client import EngineClient, RefusedError
from ipledger.engine.commands import Allocate, Release
from ipledger.events.facts import Pod
from ipledger.events.jetstream import JetStreamLog
from ipledger.events.ledger import Ledger
from ipledger.kube.manifest import Manifest, parse

EMPTY = ("help", "usage", "empty", "apply", "bad_input")
FURNISHED = (
    "pools",
    "allocations",
    "who",
    "log",
    "past",
    "trace",
    "verify",
    "release",
    "status",
    "reservations",
    "dry_run",
    "describe",
    "workloads",
    "subnets",
    "auto_pools",
    "checkpoint",
    "ledger",
)
LOST = ("restore",)
BESIDE_SPIDERPOOL = ("import",)


async def furnish(engine: EngineClient, clock: Clock) -> None:
    """Two pools, three pods with addresses, one that has gone again, and a refusal."""
    for manifest in parse((MANIFESTS / "pools.yaml").read_text(), "pools.yaml"):
        assert isinstance(manifest, Manifest)
        await engine.apply(manifest.command)
    for number, (namespace, node) in enumerate(
        [("shop", "worker-1"), ("shop", "worker-2"), ("bank", "worker-1"), ("bank", "worker-2")]
    ):
        clock.pass_seconds(60)
        await engine.allocate(allocate(number, namespace, node))
    await engine.release(Release(sandbox="sandbox-3", interface="eth0", node="worker-2"))
    with pytest.raises(RefusedError):
        await engine.allocate(allocate(9, "shop", "worker-1", pool="nowhere"))


async def copy(cli: Cli, nc: NatsClient) -> None:
    """The log in a ledger file, and one that is behind."""
    entries = [entry async for entry in JetStreamLog.of(nc, cli.realm).read(0)]
    for name, copied in (("ledger.db", entries), ("behind.db", entries[:-2])):
        ledger = await Ledger.open(cli.files / name, cli.realm)
        await ledger.append(copied)
        await ledger.close()


def allocate(number: int, namespace: str, node: str, pool: str = "") -> Allocate:
    pod = Pod(namespace, f"web-{number}", f"uid-{number}")
    named = (pool,) if pool else ()
    return Allocate(
        pod=pod,
        node=node,
        sandbox=f"sandbox-{number}",
        interface="eth0",
        default_ipv4_pools=named,
    )


@pytest.mark.parametrize("name", EMPTY)
async def test_a_command_on_an_empty_realm_prints_what_was_recorded(
    name: str, cli: Cli, engine: EngineClient
) -> None:
    await check(cli, name)


@pytest.mark.parametrize("name", FURNISHED)
async def test_a_command_on_a_realm_in_use_prints_what_was_recorded(
    name: str, cli: Cli, nc: NatsClient, engine: EngineClient, clock: Clock
) -> None:
    await furnish(engine, clock)
    await copy(cli, nc)
    await check(cli, name)


@pytest.mark.parametrize("name", LOST)
async def test_a_command_on_a_realm_whose_stream_is_lost_prints_what_was_recorded(
    name: str, cli: Cli, nc: NatsClient
) -> None:
    ledger = await Ledger.open(cli.files / "ledger.db", cli.realm)
    await ledger.append(chain(5))
    await ledger.close()
    await check(cli, name)


@pytest.mark.parametrize("name", BESIDE_SPIDERPOOL)
async def test_a_command_beside_a_spiderpool_prints_what_was_recorded(
    name: str, cli: Cli, engine: EngineClient
) -> None:
    good, bad = ApiServer(), ApiServer()
    for server, file in ((bad, "contradictory"), (good, "kubeconfig")):
        await server.start()
        cluster = small(server)
        if server is bad:
            cluster.endpoint("lost", "uid-lost", v4("10.1.0.20", "a"))
            cluster.record("a", "10.1.0.21", "leaked", "uid-leaked")
            cluster.pod("silent", "10.1.0.22")
        server.kubeconfig(cli.files).rename(cli.files / file)
    try:
        await check(cli, name)
    finally:
        await good.stop()
        await bad.stop()


def test_every_transcript_is_run() -> None:
    run = {*EMPTY, *FURNISHED, *LOST, *BESIDE_SPIDERPOOL, "gc"}  # that one is in test_gc.py
    assert {path.stem for path in SNAPSHOTS.glob("*.txt")} == run
