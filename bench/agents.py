"""A cluster's day in minutes: 10,000 pods on 200 nodes come and go, through 200 agents.

Everything is real but the cluster: nats-server, `ipledger engine`, `ipledger controller` with its
collector, and the agents as `ipledger agent` has them, 50 to a process, each with a socket, an
outbox, a connection and watches of its own. The API server is the tests' double; kubelets, which
also call the plugin's protocol in the shim's place, are one process (`nodes.py`).

The DELs of 100 pods never come: the collector has to free those. Afterwards the log is read with a
book of its own here: a duplicate or a leak fails the run.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nats
from harness import cpu_seconds, percentile, report, resident_mib
from nodes import AT_ONCE, LOST, NODES, PODS, SANDBOX_S
from support.nats_cluster import cluster
from support.node import IPLEDGER
from support.program import Program, until
from support.replicas import Replicas, replicas

from ipledger.events import commit
from ipledger.events.jetstream import JetStreamLog
from ipledger.events.names import REALM_DEFAULT
from ipledger.events.types import AddressesAllocated, AddressesReleased

GROUPS = 4
GONE_S = 60.0


@dataclass
class Process:
    """One of `nodes.py`, that says things on stdout."""

    running: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.running.pid

    def heard(self) -> str:
        """Its next line."""
        assert self.running.stdout is not None
        line = self.running.stdout.readline()
        assert line, "a process ended"
        return line

    def asked(self, what: str) -> Any:
        """What it answers to a line."""
        assert self.running.stdin is not None
        self.running.stdin.write(f"{what}\n")
        self.running.stdin.flush()
        return json.loads(self.heard())


@contextmanager
def process(what: str, folder: Path, *more: str) -> Generator[Process]:
    """Run one until the block ends."""
    command = [sys.executable, str(Path(__file__).with_name("nodes.py")), what, str(folder), *more]
    with (folder / f"{what}-{'-'.join(more[1:])}.log").open("wb") as log:
        running = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        yield Process(running)
    finally:
        running.kill()
        running.wait()


@dataclass
class Cluster:
    """All the processes."""

    realm: Replicas
    api: Process
    kubelets: Process
    pids: dict[str, list[int]]

    def spent(self) -> dict[str, float]:
        """CPU seconds so far."""
        return {name: sum(cpu_seconds(pid) for pid in of) for name, of in self.pids.items()}


@contextmanager
def everything(folder: Path) -> Generator[Cluster]:
    """Start all, and wait until all are ready."""
    with (
        cluster(folder, size=1) as servers,
        replicas(folder, servers.url, REALM_DEFAULT, folder) as realm,
        process("apiserver", folder) as api,
    ):
        servers.start(0)
        api.heard()
        engine = realm.add_engine()
        engine.launch()
        engine.wait_ready()
        command = [IPLEDGER, "controller", "--nats", servers.url, "--http", "0"]
        command += ["--kubeconfig", str(folder / "kubeconfig"), "--min-age", "1"]
        controller = Program("controller", command, folder)
        controller.launch()
        try:
            controller.line("^ready controller")
            until(lambda: len(realm.pools()) == 4, 30.0)
            with groups(folder, servers.url) as made, process("kubelets", folder) as kubelets:
                kubelets.asked("start")
                pids = {
                    "engine": [engine.pid],
                    "nats-server": [servers.servers[0].pid],
                    "controller": [controller.pid],
                    f"agents, {GROUPS} processes": [one.pid for one in made],
                    "API server double": [api.pid],
                    "kubelets": [kubelets.pid],
                }
                yield Cluster(realm, api, kubelets, pids)
        finally:
            controller.kill()


@contextmanager
def groups(folder: Path, url: str) -> Generator[list[Process]]:
    """The agents, so many to a process."""
    each = NODES // GROUPS
    with ExitStack() as stack:
        made = [
            stack.enter_context(process("agents", folder, url, str(number * each), str(each)))
            for number in range(GROUPS)
        ]
        for one in made:
            one.heard()
        yield made


def measure(made: Cluster) -> list[list[str]]:
    """The rows of the table."""
    before, began = made.spent(), time.perf_counter()
    created = made.kubelets.asked("create")
    calls = made.api.asked("calls")
    check_live(made.realm, created["addresses"])
    made.kubelets.asked("lose")
    lost = time.perf_counter()
    until(lambda: len(made.realm.allocations()) == PODS - LOST, GONE_S, every_s=0.2)
    found = time.perf_counter() - lost
    deleted = made.kubelets.asked("delete")
    assert not made.realm.allocations(), "an address was leaked"
    spent, total = made.spent(), time.perf_counter() - began
    asyncio.run(check_log(made.realm.nats_url))
    rows = [
        ["pods created", f"{PODS} on {NODES} nodes, {AT_ONCE} at once", per_s(created, PODS)],
        ["ADD", f"p50, p99, after {SANDBOX_S} s of making a sandbox", quantiles(created)],
        ["calls of the agents", "GETs of pods and owners", gets(calls)],
        [f"{LOST} lost DELs", "found and freed by the collector", f"{found:.1f} s"],
        ["pods deleted", "two DELs each", per_s(deleted, PODS - LOST)],
        ["DEL", "p50, p99", quantiles(deleted)],
    ]
    for name, pids in made.pids.items():
        seconds = spent[name] - before[name]
        peak = sum(resident_mib(pid, "VmHWM") for pid in pids)
        figures = f"{seconds:.1f} s, {peak:.0f} MiB"
        rows.append([name, f"CPU of {total:.0f} s, memory at peak", figures])
    return rows


def per_s(step: dict[str, Any], pods: int) -> str:
    """Pods a second."""
    return f"{pods / step['seconds']:.0f} a second"


def quantiles(step: dict[str, Any]) -> str:
    """Of the calls of a step."""
    took = step["took_ms"]
    return f"{percentile(took, 0.5):.1f}, {percentile(took, 0.99):.1f} ms"


def gets(calls: dict[str, int]) -> str:
    """Single objects that were read; the kubelets' own are a hundred ReplicaSets."""
    return f"{calls.get('get pods', 0)} pods, {calls.get('get replicasets', 0)} ReplicaSets"


def check_live(realm: Replicas, told: dict[str, str]) -> None:
    """Every pod has what its kubelet was told, and nobody else has it."""
    held = {
        row.pod: address.address.partition("/")[0]
        for row in realm.allocations()
        for address in row.addresses
    }
    assert held == told, "the log and the kubelets do not agree"
    assert len(told) == len(set(told.values())) == PODS, "a duplicate"


async def check_log(url: str) -> None:
    """Keep a book of all events: an address given out twice, or one left, fails."""
    nc = await nats.connect(url)
    log = await JetStreamLog.open(nc, REALM_DEFAULT)
    holders: dict[str, str] = {}
    allocated = 0
    async for entry in log.read(0):
        for event in commit.decode(entry.payload).events:
            if isinstance(event, AddressesAllocated):
                allocated += 1
                for address in event.addresses:
                    assert address.address not in holders, f"a duplicate: {event}"
                    holders[address.address] = event.allocation
            elif isinstance(event, AddressesReleased):
                mine = [a for a, holder in holders.items() if holder == event.allocation]
                assert mine, f"released twice: {event}"
                del holders[mine[0]]
    await nc.close()
    assert (allocated, holders) == (PODS, {}), f"{allocated} allocated, {len(holders)} left"


def main() -> int:
    """Measure and print."""
    folder = Path(tempfile.mkdtemp(prefix="ipledger-bench-"))
    try:
        with everything(folder) as made:
            rows = measure(made)
            verified = made.realm.ipledger("verify")
            assert verified.returncode == 0, verified.stdout + verified.stderr
    finally:
        if not os.environ.get("KEEP"):
            shutil.rmtree(folder)
    report("agents", "10,000 pods on 200 nodes", ("what", "how", "figure"), rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
