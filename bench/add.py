"""One ADD as the runtime sees it: the shim against Debian's host-local, alternating in one run.

A small C driver measures from before the spawn to after the exit, since Python's own spawn
costs more than the shim. Ratios are ipledger to host-local; below 1 is faster. host-local's cost
grows with its leases, so with many more addresses held than it can bear, ours is compared with
host-local from empty.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop
from harness import build_driver, median_and_spread, node_up, percentile, report
from load import Ask, Who, allocate, connect
from support.node import Node

from ipledger.events.facts import PoolSpec

HOST_LOCAL = "/usr/lib/cni/host-local"
ROUNDS = 10
CALLS = 50
HELD = 1000
MANY = (30_000, 300_000)
FILLERS = 64


@dataclass
class Contender:
    """A plugin, its configuration, and which of its pods are held."""

    name: str
    program: str
    config: Path
    driver: Path
    pods: int = 0

    def call(self, command: str, start: int, count: int, concurrency: int = 1) -> list[float]:
        """Call the plugin for pods `start` and on. Milliseconds of each call; all must succeed."""
        arguments = [str(self.config), "pod-", str(start), str(count), str(concurrency)]
        environment = {
            **os.environ,
            "CNI_COMMAND": command,
            "CNI_NETNS": "/x",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": "/usr/lib/cni",
        }
        done = subprocess.run(
            [str(self.driver), self.program, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        answers = [line.split(" ", 3) for line in done.stdout.splitlines()]
        failed = [answer for answer in answers if answer[2] != "0"]
        assert not failed, f"{self.name}: {failed[:3]}"
        return [int(answer[1]) / 1000 for answer in answers]

    def add(self, count: int, concurrency: int = 1) -> list[float]:
        """Allocate for `count` new pods."""
        start, self.pods = self.pods, self.pods + count
        return self.call("ADD", start, count, concurrency)

    def clear(self) -> None:
        """Release every pod, and begin with names never used before."""
        self.call("DEL", 0, self.pods, 8)


def contenders(node: Node) -> tuple[Contender, Contender]:
    """ipledger with a /8, host-local with a /16."""
    node.apply(PoolSpec("pool", 0, "10.0.0.0/8", ips=("10.0.0.1-10.255.0.0",), default=True))
    ranges = [[{"subnet": "10.72.0.0/16"}]]
    section = {"type": "host-local", "dataDir": str(node.root / "leases"), "ranges": ranges}
    driver = build_driver(node.root)
    ours, theirs = node.root / "ipledger.json", node.root / "host-local.json"
    ours.write_text(json.dumps(node.config()))
    theirs.write_text(json.dumps({"cniVersion": "1.0.0", "name": "hl", "ipam": section}))
    return (
        Contender("ipledger", str(node.shim), ours, driver),
        Contender("host-local", HOST_LOCAL, theirs, driver),
    )


@dataclass
class Filler:
    """Takes addresses on the bus. `left` is how many more."""

    left: int

    def next(self) -> Ask | None:
        """The next pod."""
        self.left -= 1
        return Ask("allocate", allocate(self.left)) if self.left >= 0 else None

    def answered(self, asked: Ask, body: bytes, seconds: float) -> None:
        """Fails on any answer but an allocation."""
        assert b'"type":"Allocated"' in body, (asked, body)


async def fill(node: Node, count: int) -> None:
    """Have so many more addresses held."""
    filler = Filler(count)
    who = Who.of(node)
    clients = [await connect(node.nats_url, who, str(at), filler) for at in range(FILLERS)]
    await asyncio.gather(*(client.done for client in clients))


def sequential(held: int, elsewhere: int = 0) -> list[str]:
    """ADDs one after another with `held` addresses taken by both before, and more by ours alone."""
    ratios: dict[float, list[float]] = {0.5: [], 0.99: []}
    all_times: dict[str, list[float]] = {"ipledger": [], "host-local": []}
    with node_up() as node:
        pair = contenders(node)
        for contender in pair:
            contender.add(10)  # the first calls fill caches
            if held:
                contender.add(held, 16)
        if elsewhere:
            uvloop.run(fill(node, elsewhere))
        for _ in range(ROUNDS):
            times = {contender.name: contender.add(CALLS) for contender in pair}
            for name, measured in times.items():
                all_times[name] += measured
            for share, collected in ratios.items():
                ours, theirs = (percentile(times[c.name], share) for c in pair)
                collected.append(ours / theirs)
    cells = [
        f"{percentile(all_times[name], share):.2f}"
        for name in ("ipledger", "host-local")
        for share in (0.5, 0.99)
    ]
    title = f"{elsewhere:,} held, host-local none" if elsewhere else f"{held:,} held"
    return [title, *cells, *(median_and_spread(ratios[share]) for share in ratios)]


def burst() -> list[str]:
    """1000 pods, 32 at a time: total seconds and the ratio."""
    totals: dict[str, float] = {}
    times: dict[str, list[float]] = {}
    with node_up() as node:
        for contender in contenders(node):
            started = time.perf_counter()
            times[contender.name] = contender.add(HELD, 32)
            totals[contender.name] = time.perf_counter() - started
    ours, theirs = totals["ipledger"], totals["host-local"]
    cells = [
        f"{percentile(times[name], share):.2f}"
        for name in ("ipledger", "host-local")
        for share in (0.5, 0.99)
    ]
    ratio = f"total {ours / theirs:.2f} ({ours:.2f} s to {theirs:.2f} s)"
    return ["1000 at 32", *cells, ratio, ""]


def main() -> int:
    """Measure and print."""
    if shutil.which(HOST_LOCAL) is None:
        print(f"{HOST_LOCAL} is missing: make debian", file=sys.stderr)
        return 1
    columns = ("ADD", "ours p50 ms", "p99", "host-local p50 ms", "p99", "ratio p50", "ratio p99")
    rows = [sequential(0), sequential(HELD), *(sequential(0, many) for many in MANY), burst()]
    report("add", "ADD as the runtime sees it", columns, rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
