"""Allocate and release, mixed, at 80 % of what the engine can: is it flat?

First the engine is driven as fast as it goes for a few seconds; then 256 clients keep 80 % of that
rate for SECONDS (60; 600 for the reference run), each with some pods held, ending the oldest for
each new one. For each tenth of the time: latencies from when a request was due, the longest time in
which nobody was answered, and the memory of both processes. Snapshots, the second copy, checkpoints
and the garbage collector run as they do by default. Afterwards the log is verified.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from dataclasses import dataclass, field

import uvloop
from harness import node_up, percentile, report, resident_mib
from load import Ask, Who, allocate, connect, release
from support.node import Node

from ipledger.events.facts import PoolSpec

SECONDS = float(os.environ.get("SECONDS", "60"))
PEAK_SECONDS = 6.0
SHARE = 0.8
CLIENTS = 256
HELD_EACH = 40
WINDOWS = 10
POOL = PoolSpec("pool", 0, "10.0.0.0/8", ips=("10.0.0.1-10.255.0.0",), default=True)


@dataclass
class Window:
    """A tenth of the run."""

    latencies_ms: list[float] = field(default_factory=list[float])
    pause_ms: float = 0.0
    engine_mib: float = 0.0
    server_mib: float = 0.0


@dataclass
class Run:
    """What all clients share. `interval_s` is a client's time from one request to the next."""

    number: int
    started: float
    seconds: float
    interval_s: float
    windows: list[Window]
    last: float = 0.0

    def note(self, seconds: float) -> None:
        """Count an answer."""
        now = time.perf_counter()
        at = int((now - self.started) / self.seconds * len(self.windows))
        window = self.windows[min(at, len(self.windows) - 1)]
        window.latencies_ms.append(seconds * 1000)
        window.pause_ms = max(window.pause_ms, (now - self.last) * 1000 if self.last else 0.0)
        self.last = now


@dataclass
class Churn:
    """One client: a pod in, the oldest out. `held` outlives a run."""

    run: Run
    held: deque[int]
    due: float

    def next(self) -> Ask | None:
        """The next request, when it is due."""
        now = time.perf_counter()
        if now >= self.run.started + self.run.seconds:
            return None
        self.due = max(self.due + self.run.interval_s, now if not self.run.interval_s else 0.0)
        delay = self.due - now
        if len(self.held) >= HELD_EACH:
            return Ask("release", release(self.held.popleft()), delay)
        self.run.number += 1
        self.held.append(self.run.number)
        return Ask("allocate", allocate(self.run.number), delay)

    def answered(self, asked: Ask, body: bytes, seconds: float) -> None:
        """Fails on any answer but what was asked for."""
        wanted = b'"Allocated"' if asked.verb == "allocate" else b'"Released"'
        assert wanted in body, (asked, body)
        late = time.perf_counter() - self.due if self.run.interval_s else seconds
        self.run.note(late)


async def drive(node: Node, run: Run, held: list[deque[int]]) -> None:
    """One run of all clients, with the memory looked at in each window."""
    churns = [
        Churn(run, pods, run.started + run.interval_s * at / CLIENTS)
        for at, pods in enumerate(held)
    ]
    who = Who.of(node)
    clients = [await connect(node.nats_url, who, str(at), churn) for at, churn in enumerate(churns)]
    watcher = asyncio.create_task(watch(node, run))
    await asyncio.gather(*(client.done for client in clients))
    await watcher


async def watch(node: Node, run: Run) -> None:
    """Look at the memory at the end of each window."""
    server = node.server_pid()
    for number, window in enumerate(run.windows, 1):
        end = run.started + run.seconds * number / len(run.windows)
        await asyncio.sleep(end - time.perf_counter())
        window.engine_mib, window.server_mib = resident_mib(node.pid), resident_mib(server)


def begin(number: int, seconds: float, rate: float, windows: int) -> Run:
    """A run that begins now."""
    interval = CLIENTS / rate if rate else 0.0
    return Run(number, time.perf_counter(), seconds, interval, [Window() for _ in range(windows)])


def measure() -> tuple[float, Run]:
    """The highest rate, and the run at its share."""
    held = [deque[int]() for _ in range(CLIENTS)]
    with node_up() as node:
        node.apply(POOL)
        peak = begin(0, PEAK_SECONDS, 0.0, 1)
        uvloop.run(drive(node, peak, held))
        rate = len(peak.windows[0].latencies_ms) / PEAK_SECONDS
        run = begin(peak.number, SECONDS, rate * SHARE, WINDOWS)
        uvloop.run(drive(node, run, held))
        allocated = node.pools()["pool"].allocated
        assert allocated == sum(map(len, held)), "an allocation was lost, doubled or leaked"
    return rate, run


def main() -> int:
    """Measure and print."""
    rate, run = measure()
    rows = [
        [
            f"{SECONDS * (at + 1) / WINDOWS:.0f}",
            f"{len(window.latencies_ms) / SECONDS * WINDOWS:,.0f}",
            f"{percentile(window.latencies_ms, 0.5):.2f}",
            f"{percentile(window.latencies_ms, 0.99):.2f}",
            f"{max(window.latencies_ms):.0f}",
            f"{window.pause_ms:.0f}",
            f"{window.engine_mib:.0f}",
            f"{window.server_mib:.0f}",
        ]
        for at, window in enumerate(run.windows)
    ]
    columns = (
        "until s",
        "answers/s",
        "p50 ms",
        "p99 ms",
        "max ms",
        "longest without an answer, ms",
        "engine MiB",
        "nats-server MiB",
    )
    title = f"Mixed for {SECONDS:.0f} s at {SHARE:.0%} of {rate:,.0f} answers/s"
    report("soak", title, columns, rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
