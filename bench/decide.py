"""What one allocation costs in the core: decide, evolve, release; against pool size, live
allocations, number of pools, number of nodes and length of the history. In process, without a
log.

Each row is the processor time of an ADD and its DEL at a steady size, the best of several
interleaved rounds; the ratio is to the smallest case of the same table. Flat means within 20 %.
"""

from __future__ import annotations

import gc
import statistics
import time
from typing import TypeAlias

from harness import Plot, report

from ipledger.engine.commands import Allocate, AnyCommand, ApplyPool, Release
from ipledger.engine.decide import decide
from ipledger.events.facts import Pod, PoolSpec
from ipledger.projections.evolve import Moment, evolve
from ipledger.projections.state import State

ROUNDS = 15
CALLS = 400
NOW = 1_795_000_000_000_000


Cases: TypeAlias = "dict[str, tuple[Core, tuple[str, ...]]]"
"""A core for each case, and the pools that its ADDs name."""


class Core:
    """A state, and commands decided and evolved against it."""

    def __init__(self, *pools: PoolSpec, nodes: int = 1) -> None:
        self.nodes = nodes
        self.state = State()
        self.sequence = 0
        self.pods = 0
        for pool in pools:
            self.do(ApplyPool(pool=pool))

    def do(self, command: AnyCommand) -> None:
        """Decide and evolve; no refusal is expected."""
        self.sequence += 1
        now = NOW + self.sequence * 1_000_000  # a second a command: old fences are forgotten
        decision = decide(self.state, command, now)
        assert decision.refusal is None, decision.refusal
        for index, event in enumerate(decision.events):
            evolve(self.state, event, Moment(self.sequence, index, now))

    def add(self, *pools: str) -> Allocate:
        """An ADD of a new pod, on the next node."""
        self.pods += 1
        uid = f"3f1c8f52-9f3b-4a5f-9f11-{self.pods:012d}"
        command = Allocate(
            pod=Pod("bench", f"pod-{self.pods}", uid),
            sandbox=f"{self.pods:064x}",
            interface="eth0",
            node=f"node-{self.pods % self.nodes}",
            default_ipv4_pools=pools,
        )
        self.do(command)
        return command

    def cycle_us(self, *pools: str) -> float:
        """Microseconds of an ADD and its DEL."""
        started = time.process_time()
        for _ in range(CALLS):
            added = self.add(*pools)
            self.do(Release(sandbox=added.sandbox, interface="eth0", node=added.node))
        return (time.process_time() - started) / CALLS * 1e6


def pool(name: str, subnet: str, ips: str, *, default: bool = False) -> PoolSpec:
    """A pool."""
    return PoolSpec(name, 6 if ":" in subnet else 4, subnet, (ips,), default=default)


def sizes() -> Cases:
    """A pool of each size."""
    pools = {
        "/28": pool("p", "10.0.0.0/28", "10.0.0.1-10.0.0.14", default=True),
        "/16": pool("p", "10.0.0.0/16", "10.0.0.1-10.0.255.254", default=True),
        "/8": pool("p", "10.0.0.0/8", "10.0.0.1-10.255.255.254", default=True),
        "IPv6 /64": pool("p", "fd00::/64", "fd00::1-fd00::ffff:ffff:ffff:fffe", default=True),
    }
    return {name: (Core(spec), ()) for name, spec in pools.items()}


def live() -> Cases:
    """Live allocations in a /8."""
    cores: Cases = {}
    for count in (100, 10_000, 1_000_000):
        core = Core(pool("p", "10.0.0.0/8", "10.0.0.1-10.255.255.254", default=True))
        for _ in range(count):
            core.add()
        cores[f"{count:,} live"] = core, ()
    return cores


def many_pools() -> Cases:
    """Pools, of which ten are candidates by name."""
    cores: Cases = {}
    candidates = tuple(f"pool-{index}" for index in range(10))
    for count in (10, 100, 1000):
        specs = [
            pool(
                f"pool-{index}",
                f"10.{index // 250}.{index % 250}.0/24",
                f"10.{index // 250}.{index % 250}.1-10.{index // 250}.{index % 250}.250",
            )
            for index in range(count)
        ]
        cores[f"{count} pools"] = Core(*specs), candidates
    return cores


def many_nodes() -> Cases:
    """100,000 live allocations on so many nodes."""
    cores: Cases = {}
    for count in (10, 1000, 10_000):
        core = Core(pool("p", "10.0.0.0/8", "10.0.0.1-10.255.255.254", default=True), nodes=count)
        for _ in range(100_000):
            core.add()
        cores[f"{count:,} nodes"] = core, ()
    return cores


def long_histories() -> Cases:
    """So many ADDs, each with its DEL, have been before."""
    cores: Cases = {}
    for count in (1_000, 100_000, 1_000_000):
        core = Core(pool("p", "10.0.0.0/8", "10.0.0.1-10.255.255.254", default=True))
        for _ in range(count // CALLS):
            core.cycle_us()
        cores[f"{2 * count:,} events before"] = core, ()
    return cores


def rows(cores: Cases) -> list[list[str]]:
    """Measure the cases round by round, so that all see the same machine."""
    gc.freeze()
    times: dict[str, list[float]] = {name: [] for name in cores}
    for _ in range(ROUNDS):
        for name, (core, pools) in cores.items():
            times[name].append(core.cycle_us(*pools))
    first = next(iter(times))
    return [
        [
            name,
            f"{statistics.median(measured):.1f}",
            f"{min(measured):.1f}",
            f"{min(measured) / min(times[first]):.2f}",
        ]
        for name, measured in times.items()
    ]


def plot(axis: str, table: list[list[str]]) -> Plot:
    """The best times of a kind as a curve."""
    return Plot(
        f"ADD and DEL, µs, by {axis}", axis, [r[0] for r in table], [float(r[2]) for r in table]
    )


def main() -> int:
    """Measure and print."""
    columns = ("case", "ADD and DEL, median µs", "best µs", "best, to the first of its kind")
    kinds = {
        "size of the pool": sizes,
        "live allocations": live,
        "number of pools": many_pools,
        "number of nodes": many_nodes,
        "length of the history": long_histories,
    }
    tables = {axis: rows(make()) for axis, make in kinds.items()}
    report(
        "decide",
        "One allocation in the core",
        columns,
        [row for table in tables.values() for row in table],
        [plot(axis, table) for axis, table in tables.items()],
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
