"""The race: pods are made again under their names at full speed, most without a DEL.

Meanwhile a collector in a process of its own reads an API server that is behind, slow, blank,
restarted and forgetful.

Not one live address may be freed, and every leak must be gone at the end. IPLEDGER_RACE_S sets how
long it goes on, IPLEDGER_SEED what happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec
import pytest
from support.apiserver import ApiServer, Fault
from support.apiserver.errors import StatusError
from support.churn import CART, Churn
from support.collecting import NAMESPACE
from support.node import Node
from support.stale import StaleServer

from ipledger.engine.client import EngineClient
from ipledger.engine.commands import ApplyApplication, ApplyPool
from ipledger.engine.queries import AllocationsWhere
from ipledger.events import commit
from ipledger.events.clock import parse_time
from ipledger.events.direct_log import DirectLog
from ipledger.events.facts import Application, PoolSpec
from ipledger.events.types import AddressesAllocated, AddressesReleased, AllocationRebound
from ipledger.gc.settings import Settings

RACE_S = float(os.environ.get("IPLEDGER_RACE_S", "10"))
NAMES, LONGER, CARTS = 40, 100, 4
LIFE_S = 3.0
POOL = PoolSpec("pool", 0, "10.0.0.0/8", ips=("10.0.0.1-10.255.255.254",), default=True)
TESTS = Path(__file__).parents[1]


class Variant(NamedTuple):
    """How far lists and direct reads may be behind, and how old an allocation must be."""

    lag_s: float
    read_lag_s: float
    min_age_s: float


VARIANTS = {
    "direct reads are consistent": Variant(2.0, 0.0, 0.0),
    "direct reads are behind, by less than the age": Variant(2.0, 0.5, 3.0),
}


class Collector:
    """The process."""

    def __init__(self, node: Node, kubeconfig: Path, settings: Settings, log: Path) -> None:
        self._command = [sys.executable, "-m", "support.collector_process", node.nats_url]
        self._command += [str(node.key("controller"))]
        self._command += [str(kubeconfig), msgspec.json.encode(settings).decode()]
        self._log = log
        self._start()

    def _start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, cwd=TESTS, stderr=log)

    def restart(self) -> None:
        """Kill it, and start another."""
        self.kill()
        self._start()

    def kill(self) -> None:
        """End it with SIGKILL."""
        assert self._process.poll() is None, self._log.read_text()[-3000:]
        self._process.kill()
        self._process.wait()


async def trouble(server: StaleServer, collector: Collector, random: Random, lag: Variant) -> None:
    """One thing after another goes wrong, until cancelled."""
    while True:
        server.lag_s, server.read_lag_s = lag.lag_s * random.random(), lag.read_lag_s
        gate = asyncio.Event()
        kind = random.choice(["nothing", "slow", "away", "broken", "blank", "failing", "killed"])
        if kind == "slow":
            server.faults.append(Fault(random.choice(["get", "list"]), "pods", times=50, gate=gate))
        elif kind == "away":
            await server.stop()
        elif kind == "broken":
            server.drop_watches()
        elif kind == "blank":
            server.blank = True
            server.store.compact()
            server.drop_watches()
        elif kind == "failing":
            error = StatusError("ServiceUnavailable", "not now")
            server.faults.append(Fault("get", "pods", times=20, error=error))
        elif kind == "killed":
            collector.restart()
        await asyncio.sleep(0.3 + random.random())  # the trouble's own time, not the test's
        gate.set()
        server.blank = False
        server.faults.clear()
        if kind == "away":
            await server.start()


@pytest.mark.timeout(RACE_S * 3 + 200)
@pytest.mark.parametrize("name", VARIANTS)
async def test_no_live_address_is_freed_and_no_leak_is_left(
    node: Node, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("IPLEDGER_SEED") or secrets.randbelow(1 << 32))
    random, variant = Random(seed), VARIANTS[name]
    truth = ApiServer()
    for namespace in (NAMESPACE, "kube-system"):
        truth.create("v1", "namespaces", {"metadata": {"name": namespace}})
    truth.create("v1", "nodes", {"metadata": {"name": "node-1"}})
    truth.create("apps/v1", "statefulsets", {"metadata": {"name": "cart"}}, NAMESPACE)
    server = StaleServer(truth=truth.store)
    await server.start()
    settings = Settings(
        min_age_s=variant.min_age_s, interval_s=0.5, share_max=1.0, count_max=1_000_000
    )
    nc, agent_nc = await node.as_user("admin"), await node.as_user(node.own_key)
    engine = EngineClient(nc, timeout_s=60.0)
    agent = EngineClient(agent_nc, timeout_s=60.0)
    await engine.apply(ApplyPool(pool=POOL))
    cart = Application("apps/v1", "StatefulSet", NAMESPACE, "cart", replicas=CARTS)
    await engine.apply(ApplyApplication(application=cart))
    collector = Collector(node, server.kubeconfig(tmp_path), settings, tmp_path / "collector.log")
    churn, stop = Churn(truth, agent, random), asyncio.Event()
    ending = contextlib.AsyncExitStack()
    ending.push_async_callback(server.close)
    ending.push_async_callback(nc.close)
    ending.push_async_callback(agent_nc.close)
    ending.callback(collector.kill)

    async with ending:
        async with going_wrong(server, collector, random, variant), asyncio.TaskGroup() as workers:
            for number in range(NAMES):
                workers.create_task(churn.work(f"web-{number}", stop))
            for number in range(LONGER):
                workers.create_task(churn.work(f"longer-{number}", stop, life_s=LIFE_S))
            for number in range(CARTS):
                workers.create_task(churn.work(f"cart-{number}", stop, CART))
            await asyncio.sleep(RACE_S)
            stop.set()
        server.lag_s = 0.0
        left = await until_only_the_live_are_left(engine, churn)
        log = DirectLog(nc, "default")
        freed = await check_the_log(log, churn)

    with capsys.disabled():
        print(
            f"\n{name}: seed {seed}, {churn.recreated} pods made again, {churn.leaked} without a "
            f"DEL, {freed} freed by the collector, {left} allocations left"
        )
    assert left == NAMES + LONGER + CARTS
    assert freed > 0


@contextlib.asynccontextmanager
async def going_wrong(
    server: StaleServer, collector: Collector, random: Random, variant: Variant
) -> AsyncGenerator[None]:
    task = asyncio.create_task(trouble(server, collector, random, variant))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        server.faults.clear()
        server.blank = False
        await server.stop()
        await server.start()


async def until_only_the_live_are_left(engine: EngineClient, churn: Churn) -> int:
    """Wait until the log holds what is live, and nothing else."""
    expected = {(name, uid, sandbox) for name, (uid, sandbox) in churn.live.items()}
    found: set[tuple[str, str, str]] = set()
    try:
        async with asyncio.timeout(120 + RACE_S):
            return await _until_found(engine, expected, found)
    except TimeoutError:
        pytest.fail(f"{len(found - expected)} leaks are left, as {sorted(found - expected)[:3]}")


async def _until_found(
    engine: EngineClient, expected: set[tuple[str, str, str]], found: set[tuple[str, str, str]]
) -> int:
    while True:
        pages = engine.allocations(AllocationsWhere())
        rows = [row async for page in pages for row in page.allocations]
        found.clear()
        found.update((row.pod, row.uid, row.sandbox) for row in rows)
        assert expected <= found, f"freed while live: {expected - found}"
        if found == expected:
            return len(rows)
        await asyncio.sleep(0.2)


async def check_the_log(log: DirectLog, churn: Churn) -> int:
    """Whatever the collector freed had lost its pod before. Returns how many it freed."""
    owners: dict[str, str] = {}
    freed = 0
    async for entry in log.read(0):
        read = commit.decode(entry.payload)
        for event in read.events:
            if isinstance(event, AddressesAllocated | AllocationRebound) and event.pod is not None:
                owners[event.allocation] = event.pod.uid
            elif isinstance(event, AddressesReleased) and event.reason == "gc":
                uid = owners[event.allocation]
                assert uid in churn.gone_at, f"{event} is of a pod that is live"
                assert churn.gone_at[uid] <= parse_time(read.time), f"{event} came too soon"
                freed += 1
    return freed
