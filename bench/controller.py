"""What the controller costs: many pools at its start, many ADDs, and statuses of large pools.

API server double, engine and controller share a process, so that the wall time is for all three.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import nats
from harness import report
from support.kube import POOLS, Kube, condition, holders, kube, make, seen

from ipledger.engine.commands import Allocate
from ipledger.events.addresses import format_ip
from ipledger.events.embedded import EmbeddedServer
from ipledger.events.facts import Address, Pod, PoolSpec
from ipledger.events.types import AddressesAllocated, PoolCreated
from ipledger.kube import status
from ipledger.projections.evolve import Moment, evolve
from ipledger.projections.state import State

POOL_COUNT, ADDS, AT_ONCE = 1000, 1000, 32
HELD = (1_000, 10_000, 100_000)
FIVE = tuple(f"p{number}" for number in range(5))


async def measure() -> list[list[str]]:
    """The rows of the table that need a cluster."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedServer(Path(folder) / "nats")
        await server.start()
        nc = await nats.connect(server.url)
        async with kube(nc, "bench", Path(folder)) as cluster:
            rows = await _measure(cluster)
        await nc.close()
        await server.stop()
    return rows


async def _measure(cluster: Kube) -> list[list[str]]:
    for number in range(POOL_COUNT):
        prefix = f"10.{number // 250}.{number % 250}"
        ips = [f"{prefix}.1-{prefix}.200"]
        make(cluster.server, POOLS, f"p{number}", subnet=f"{prefix}.0/24", ips=ips)
    began = time.perf_counter()
    async with cluster.controlled():
        await cluster.until(lambda: _written(cluster) == POOL_COUNT)
        started = time.perf_counter() - began
        calls, began = len(cluster.server.calls), time.perf_counter()
        slots = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(_add(cluster, number, slots) for number in range(ADDS)))
        answered = time.perf_counter()
        await cluster.until(lambda: _shown(cluster) == ADDS)
        late = time.perf_counter() - answered
        asked = len(cluster.server.calls) - calls
    return [
        [f"{POOL_COUNT:,} pools, list to last status", f"{started:.1f} s"],
        [f"{ADDS:,} ADDs on five pools", f"{answered - began:.2f} s"],
        ["the statuses have the last of them", f"{late:.2f} s later, {asked} calls"],
    ]


async def _add(cluster: Kube, number: int, slots: asyncio.Semaphore) -> None:
    command = Allocate(
        pod=Pod("shop", f"web-{number}", f"uid-{number}"),
        sandbox=f"sandbox-{number}",
        interface="eth0",
        node="n1",
        default_ipv4_pools=FIVE,
    )
    async with slots:
        await cluster.client.allocate(command)


def _written(cluster: Kube) -> int:
    names = (f"p{number}" for number in range(POOL_COUNT))
    return sum(condition(seen(cluster.server, POOLS, n), "Accepted") is not None for n in names)


def _shown(cluster: Kube) -> int:
    return sum(len(holders(seen(cluster.server, POOLS, name))) for name in FIVE)


def statuses() -> list[list[str]]:
    """The rows of large pools."""
    rows: list[list[str]] = []
    state = State()
    spec = PoolSpec("large", 4, "10.0.0.0/8", ips=("10.0.0.0-10.255.255.255",))
    evolve(state, PoolCreated(pool=spec), Moment(1, 0, 1))
    for number in range(HELD[-1]):
        evolve(state, _allocated(number), Moment(2, number, 1))
        if number + 1 in HELD:
            began = time.perf_counter()
            told = status.pool_status(state, "large")
            took = (time.perf_counter() - began) * 1000
            size = len(told["allocatedIPs"])
            rows.append([f"status with {number + 1:,} held", f"{took:.1f} ms, {size:,} bytes"])
    return rows


def _allocated(number: int) -> AddressesAllocated:
    address = f"{format_ip(4, (10 << 24) + number)}/8"
    return AddressesAllocated(
        allocation=f"a{number + 1}",
        pod=Pod("shop", f"web-{number}", f"0f8fad5b-d9cb-469f-a165-{number:012d}"),
        node="n1",
        sandbox=f"sandbox-{number}",
        interface="eth0",
        addresses=(Address("large", address),),
    )


def main() -> int:
    """Measure and print."""
    rows = asyncio.run(measure()) + statuses()
    report("controller", "The controller", ("what", "figure"), rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
