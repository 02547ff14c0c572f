"""One million live allocations: memory, snapshot, start.

A log with as many pods of Deployments is written to a real nats-server. Each figure is then
measured in a process of its own: this file with the name of a step as its argument.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import shutil
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

COUNT = int(os.environ.get("ALLOCATIONS", "1000000"))
PODS_EACH = 10
NODES = 5_000
EVENTS_EACH = 250
REALM = "default"
NOW = 1_795_000_000_000_000
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"


def rss_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def pods(count: int, first: int = 0) -> Iterator[Any]:
    """The events of that many ADDs, as agents of a cluster cause them."""
    from ipledger.events.addresses import format_ip
    from ipledger.events.facts import Address, Candidate, Owner, Pod, Route
    from ipledger.events.types import AddressesAllocated

    choose = random.Random(first)
    routes = (Route("10.96.0.0/12", "10.0.0.1"),)
    for number in range(first, first + count):
        workload = number // PODS_EACH
        of_workload = random.Random(workload)
        name = f"cart-{workload % 1000}"
        replica_set = "".join(of_workload.choices(_SUFFIX, k=9))
        address = Address("pool", f"{format_ip(4, 0x0A000001 + number)}/8", "10.0.0.1")
        yield AddressesAllocated(
            allocation=f"a{number + 1}",
            pod=Pod(
                f"shop-{workload % 50}",
                f"{name}-{replica_set}-{''.join(choose.choices(_SUFFIX, k=5))}",
                uuid(choose),
            ),
            node=f"worker-{choose.randrange(NODES)}.example.com",
            sandbox=f"{choose.getrandbits(256):064x}",
            interface="eth0",
            network="default-network",
            owner=Owner("apps/v1", "Deployment", name, uuid(of_workload)),
            addresses=(address,),
            routes=routes,
            decision=(Candidate("pool", 4, "chosen"),),
            steps={"engine": NOW},
        )


def uuid(choose: random.Random) -> str:
    """A UUID."""
    digits = "".join(choose.choices(string.hexdigits[:16], k=32))
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


class Ticker:
    """The longest time for which the event loop let nobody else run, in milliseconds."""

    def __init__(self) -> None:
        self.longest_ms = 0.0
        self._task = asyncio.create_task(self._tick())

    async def _tick(self) -> None:
        while True:
            started = time.perf_counter()
            await asyncio.sleep(0)
            self.longest_ms = max(self.longest_ms, (time.perf_counter() - started) * 1000)
            await asyncio.sleep(0.001)

    def stop(self) -> float:
        """End it; the longest pause."""
        self._task.cancel()
        return self.longest_ms


async def with_server(data: Path, step: Callable[[Any], Awaitable[dict[str, float]]]) -> None:
    """Run a step with a client of a nats-server over a directory; print its figures."""
    import nats

    from ipledger.events.embedded import EmbeddedServer

    server = EmbeddedServer(data)
    await server.start()
    nc = await nats.connect(server.url)
    try:
        print(json.dumps(await step(nc)))
    finally:
        await nc.close()
        await server.stop()


async def fill(nc: Any) -> dict[str, float]:
    """Write the log."""
    from ipledger.events import commit
    from ipledger.events.facts import PoolSpec
    from ipledger.events.jetstream import JetStreamLog
    from ipledger.events.log import Appended
    from ipledger.events.types import PoolCreated

    log = await JetStreamLog.create(nc, REALM)
    spec = PoolSpec("pool", 4, "10.0.0.0/8", ("10.0.0.1-10.255.255.254",), gateway="10.0.0.1")
    events: list[Any] = [PoolCreated(pool=spec)]
    sequence, prev = 0, commit.GENESIS
    for event in (*events, *pods(COUNT), None):
        if event is not None:
            events.append(event)
        if event is None or len(events) == EVENTS_EACH:
            encoded = map(commit.encode_event, events[1:] if sequence == 0 else events)
            payload = commit.encode(1, NOW + sequence * 1000, prev, encoded)
            assert await log.append(payload, after=sequence) == Appended(sequence + 1)
            sequence, prev, events = sequence + 1, commit.digest(payload), []
    return {}


async def fold(nc: Any) -> dict[str, float]:
    """Fold the log from its first commit, then take a snapshot, idle and under load."""
    from ipledger.engine.object_store import JetStreamSnapshots
    from ipledger.engine.snapshots import Snapshots, load
    from ipledger.events.jetstream import JetStreamLog

    log = await JetStreamLog.open(nc, REALM)
    started = time.perf_counter()
    folded = await load(log)
    figures = {"fold_s": time.perf_counter() - started, "fold_rss": rss_bytes()}
    figures["fold_cpu_s"] = time.process_time()
    snapshots = Snapshots(JetStreamSnapshots(nc, REALM), REALM)
    ticker, started = Ticker(), time.perf_counter()
    taken = snapshots.take(folded)
    figures["freeze_ms"] = (time.perf_counter() - started) * 1000
    await snapshots.save(taken)
    figures |= {"save_s": time.perf_counter() - started, "save_pause_ms": ticker.stop()}
    figures["save_rss"] = rss_bytes()
    info = await nc.jetstream().stream_info("OBJ_IPLEDGER_SNAPSHOTS_default")
    figures["bytes"] = info.state.bytes
    started = time.perf_counter()
    folded.state.digest()
    figures["digest_s"] = time.perf_counter() - started
    return figures | await under_load(log, folded, snapshots)


async def under_load(log: Any, folded: Any, snapshots: Any) -> dict[str, float]:
    """ADDs of 16 clients in this process, without a snapshot and while one is taken."""
    from harness import percentile

    from ipledger.engine.commands import Allocate
    from ipledger.engine.commit_loop import CommitLoop, Request
    from ipledger.events.facts import Pod

    loop = CommitLoop(log, folded, lambda: NOW * 2)
    await loop.take_leadership("bench", "0")
    serving = asyncio.create_task(loop.run())
    numbers = iter(range(10_000_000))
    is_over = asyncio.Event()
    latencies: list[float] = []

    async def client() -> None:
        while not is_over.is_set():
            number = next(numbers)
            answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

            async def reply(answer: Any, answered: asyncio.Future[Any] = answered) -> None:
                answered.set_result(answer)

            pod = Pod("bench", f"pod-{number}", f"uid-{number}")
            add = Allocate(
                pod=pod,
                sandbox=f"{number:064x}",
                interface="eth0",
                node="n",
                default_ipv4_pools=("pool",),
            )
            started = time.perf_counter()
            loop.submit(Request(add, reply))
            assert (await answered).allocation
            latencies.append((time.perf_counter() - started) * 1000)

    async def measured(name: str, work: Awaitable[object]) -> dict[str, float]:
        latencies.clear()
        is_over.clear()
        clients = [asyncio.create_task(client()) for _ in range(16)]
        started = time.perf_counter()
        await work
        elapsed = time.perf_counter() - started
        is_over.set()
        await asyncio.gather(*clients)
        return {
            f"{name}_s": elapsed,
            f"{name}_rate": len(latencies) / elapsed,
            f"{name}_p99_ms": percentile(latencies, 0.99),
            f"{name}_max_ms": max(latencies),
        }

    async def take_one() -> None:
        await snapshots.save(await loop.between_commits(snapshots.take))

    figures = await measured("without", asyncio.sleep(2))
    figures |= await measured("during", take_one())
    loop.stop()
    await serving
    return figures


async def start(nc: Any) -> dict[str, float]:
    """Begin from the snapshot."""
    from ipledger.engine.object_store import JetStreamSnapshots
    from ipledger.engine.snapshots import Snapshots, load
    from ipledger.events.jetstream import JetStreamLog

    log = await JetStreamLog.open(nc, REALM)
    started, worked = time.perf_counter(), time.process_time()
    loaded = await load(log, Snapshots(JetStreamSnapshots(nc, REALM), REALM))
    assert loaded.restored_events >= COUNT, "the snapshot was not used"
    return {
        "load_s": time.perf_counter() - started,
        "load_cpu_s": time.process_time() - worked,
        "load_rss": rss_bytes(),
        "allocations": len(loaded.state.allocations),
        "tail": loaded.state.events_ever - loaded.restored_events,
        "peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def run(step: str, data: Path) -> dict[str, float]:
    """Run a step in a process of its own; with `wall_s`, from its spawn to its end."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, step, str(data)], check=True, stdout=subprocess.PIPE, text=True
    )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures | {"wall_s": time.perf_counter() - started}


def up(root: Path) -> dict[str, float]:
    """A real `ipledger up` over the same log: seconds from its spawn to its ready line."""
    from support.node import Node

    node = Node(root, root / "no-shim")
    started = time.perf_counter()
    node.start()
    elapsed = time.perf_counter() - started
    statm = Path(f"/proc/{node.pid}/statm").read_text().split()
    begun = "begins from the snapshot" in node.log.read_text()
    assert begun, node.log.read_text()
    started = time.perf_counter()
    node.stop()
    return {
        "up_s": elapsed,
        "up_rss": int(statm[1]) * resource.getpagesize(),
        "stop_s": time.perf_counter() - started,
    }


def main() -> int:
    """Measure and print."""
    from harness import report

    root = Path(tempfile.mkdtemp(prefix="ipledger-bench-"))
    try:
        data = root / "data"
        run("fill", data)
        figures = run("fold", data)
        starts = [run("start", data) for _ in range(5)]
        ups = [up(root) for _ in range(3)]
    finally:
        shutil.rmtree(root)
    best = min(starts, key=lambda figures: figures["load_s"])
    live = int(best["allocations"])
    each = {name: f"{figures[name] / COUNT:,.0f}" for name in ("fold_rss", "save_rss", "bytes")}
    rows = [
        ("live allocations", f"{live:,}"),
        ("resident bytes an allocation, folded from the log", each["fold_rss"]),
        ("resident bytes an allocation, begun from a snapshot", f"{best['load_rss'] / live:,.0f}"),
        ("the same at its peak", f"{best['peak_rss'] / live:,.0f}"),
        ("fold from the first commit, events/s", f"{COUNT / figures['fold_s']:,.0f}"),
        ("the same by processor time, events/s", f"{COUNT / figures['fold_cpu_s']:,.0f}"),
        ("snapshot, bytes an allocation", each["bytes"]),
        ("freezing, ms", f"{figures['freeze_ms']:.0f}"),
        ("snapshot taken and stored, idle, s", f"{figures['save_s']:.2f}"),
        ("longest pause of the loop meanwhile, ms", f"{figures['save_pause_ms']:.0f}"),
        ("resident bytes an allocation behind it", each["save_rss"]),
        ("digest, s", f"{figures['digest_s']:.2f}"),
        *(
            (
                f"16 clients, {text}: ADDs/s, p99 ms, longest ms",
                f"{figures[f'{name}_rate']:,.0f}, {figures[f'{name}_p99_ms']:.1f}, "
                f"{figures[f'{name}_max_ms']:.0f}",
            )
            for name, text in (("without", "no snapshot"), ("during", "while one is taken"))
        ),
        ("the same snapshot, s", f"{figures['during_s']:.2f}"),
        (f"load from it, tail of {best['tail']:,.0f} events, s", spread(starts, "load_s")),
        ("the same, processor time of the process, s", spread(starts, "load_cpu_s")),
        ("ipledger up, spawn to ready, nats-server included, s", spread(ups, "up_s")),
        ("ipledger up, resident bytes an allocation", f"{ups[0]['up_rss'] / live:,.0f}"),
        ("ipledger up, SIGTERM to exit with a last snapshot, s", spread(ups, "stop_s")),
    ]
    report("million", "One million live allocations", ("what", "figure"), rows)
    return 0


def spread(runs: list[dict[str, float]], name: str) -> str:
    """Median, lowest and highest of several runs."""
    from harness import median_and_spread

    return median_and_spread([figures[name] for figures in runs])


if __name__ == "__main__":
    if len(sys.argv) == 1:
        raise SystemExit(main())
    import uvloop

    uvloop.run(
        with_server(Path(sys.argv[2]), {"fill": fill, "fold": fold, "start": start}[sys.argv[1]])
    )
