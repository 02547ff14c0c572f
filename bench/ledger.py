"""Folding a long log from its ledger file and from JetStream, and what a restore takes.

The log holds ADDs and their DELs, at 1 and at 64 events a commit. Events a second; the plain read
of the ledger, without folding, tells how much of the time is the file.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import uvloop
from harness import report

from ipledger.engine.commands import Allocate, AnyCommand, ApplyPool, Release
from ipledger.engine.decide import decide
from ipledger.events import commit
from ipledger.events.embedded import EmbeddedServer
from ipledger.events.facts import Pod, PoolSpec
from ipledger.events.jetstream import JetStreamLog
from ipledger.events.ledger import Ledger
from ipledger.events.log import Entry, ReadableLog
from ipledger.projections.evolve import Moment, evolve
from ipledger.projections.fold import Fold
from ipledger.projections.state import State
from ipledger.replay.restore import Restore

EVENTS = 200_000
LIVE = 5_000
NOW = 1_795_000_000_000_000
BATCH = 1_000
COMMIT_EVENTS = (1, 64)


class Writer:
    """Decides commands and packs their events into commits of a size."""

    def __init__(self, commit_events: int) -> None:
        self._state = State()
        self._commit_events = commit_events
        self._events: list[bytes] = []
        self._prev = commit.GENESIS
        self.entries: list[Entry] = []

    @property
    def _now(self) -> int:
        return NOW + len(self.entries) * 1_000_000  # a second a commit: old fences are forgotten

    def do(self, command: AnyCommand) -> None:
        """Decide, evolve, and close the commit if it is full."""
        decision = decide(self._state, command, self._now)
        assert decision.refusal is None, decision.refusal
        for event in decision.events:
            at = Moment(len(self.entries) + 1, len(self._events), self._now)
            evolve(self._state, event, at)
            self._events.append(commit.encode_event(event))
        if len(self._events) >= self._commit_events:
            payload = commit.encode(1, self._now, self._prev, self._events)
            self._prev = commit.digest(payload)
            self.entries.append(Entry(len(self.entries) + 1, payload))
            self._events = []


def log_of(commit_events: int) -> list[Entry]:
    """A log of EVENTS events, LIVE pods at a time."""
    writer = Writer(commit_events)
    pool = PoolSpec("pool", 4, "10.0.0.0/8", ips=("10.0.0.1-10.255.0.0",), default=True)
    writer.do(ApplyPool(pool=pool))
    for number in range((EVENTS + LIVE) // 2):
        pod = Pod("bench", f"pod-{number}", f"3f1c8f52-9f3b-4a5f-9f11-{number:012d}")
        sandbox = f"{number:064x}"
        writer.do(Allocate(pod=pod, sandbox=sandbox, interface="eth0", node="node-1"))
        if number >= LIVE:
            sandbox = f"{number - LIVE:064x}"
            writer.do(Release(sandbox=sandbox, interface="eth0", node="node-1"))
    return writer.entries


async def fold_seconds(log: ReadableLog) -> float:
    """How long it takes to fold a log to its end."""
    gc.collect()
    gc.freeze()
    started = time.perf_counter()
    fold = Fold()
    async for entry in log.read(0):
        fold.apply(entry)
    return time.perf_counter() - started


async def read_seconds(entries: AsyncIterator[Entry]) -> float:
    """How long it takes to read a log to its end."""
    started = time.perf_counter()
    async for _ in entries:
        pass
    return time.perf_counter() - started


async def measure(folder: Path, commit_events: int) -> list[str]:
    """A row of the table."""
    entries = log_of(commit_events)
    ledger = await Ledger.open(folder / f"{commit_events}.db", f"r{commit_events}")
    server = EmbeddedServer(folder / "server")
    await server.start()
    nc = await nats.connect(server.url)
    try:
        started = time.perf_counter()
        for at in range(0, len(entries), BATCH):
            await ledger.append(entries[at : at + BATCH])
        written = time.perf_counter() - started
        started = time.perf_counter()
        await Restore(nc, ledger).run()
        restored = time.perf_counter() - started
        stream = JetStreamLog.of(nc, ledger.realm)
        read = min([await read_seconds(ledger.read(0)) for _ in range(3)])
        folded = min([await fold_seconds(ledger) for _ in range(3)])
        from_stream = min([await fold_seconds(stream) for _ in range(2)])
    finally:
        await ledger.close()
        await nc.close()
        await server.stop()
    rates = [f"{EVENTS / seconds:,.0f}" for seconds in (written, read, folded, from_stream)]
    return [str(commit_events), *rates, f"{len(entries) / restored:,.0f}"]


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="ipledger-bench-") as folder:
        rows = [uvloop.run(measure(Path(folder), size)) for size in COMMIT_EVENTS]
    columns = (
        "events a commit",
        "ledger written, events/s",
        "ledger read",
        "folded from ledger",
        "folded from JetStream",
        "restored, commits/s",
    )
    report("ledger", "A log of 200,000 events", columns, rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
