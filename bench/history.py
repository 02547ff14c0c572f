"""What the past costs: a million events of a realistic month, asked as an auditor asks.

Fold and verification, the making of the history, questions to it, annotation of flow records, and
the same questions to the `eventsourcing` package's recorder and to `jq` over the exported log. The
history is generated from a seed (`support.cluster`); a smaller one is made with

    PYTHONPATH=tests python bench/history.py [EVENTS]
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import nats
from aggregates import NAMESPACE, Model, record
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore
from harness import report
from support import traffic

from ipledger.engine import queries, reading
from ipledger.events.clock import format_time
from ipledger.events.commit import decode
from ipledger.events.embedded import EmbeddedServer
from ipledger.events.garbage import collecting_later
from ipledger.events.jetstream import JetStreamLog
from ipledger.events.ledger import Ledger
from ipledger.events.log import Appended, Entry, ReadableLog
from ipledger.events.names import log_subject
from ipledger.events.position import START, Position
from ipledger.projections.fold import Fold
from ipledger.replay.annotate import Tracks
from ipledger.replay.export import export
from ipledger.replay.flows import Fields, Flaws, annotate_jsonl
from ipledger.replay.history_store import HistoryStore
from ipledger.replay.history_writer import HistoryWriter
from ipledger.replay.holders import holder_row
from ipledger.replay.past import Past
from ipledger.replay.touching import touching
from ipledger.replay.verify import verify

SEED = 7
EVENTS = 1_000_000
STREAMED_EVENTS = 200_000
QUESTIONS = 100
STATES = 15
FLOWS = 1_000_000
FOLLOWED = 100
AGGREGATE_EVENTS = 100_000
_STORED_AT_ONCE = 500
_IN_FLIGHT = 256

Rows = list[list[str]]


async def main(events: int) -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="ipledger-bench-") as folder:
        root = Path(folder)
        ledger = await written(root / "ledger.db", events)
        rows = await from_ledger(ledger, events)
        rows += await streaming(root, ledger, min(events, STREAMED_EVENTS))
        past, made = await history(root / "history.db", ledger)
        rows += made
        rows += await questions(past)
        rows += await annotation(root, past)
        rows += await followed(root, events)
        rows += await peers(root, past)
        await past.store.close()
        await ledger.close()
    report("history", f"The past of {events:,} events", ("what", "figure", "note"), rows)
    return 0


async def written(path: Path, events: int) -> Ledger:
    """A ledger of a generated history."""
    ledger = await Ledger.open(path, "default")
    waiting: list[Entry] = []
    for entry in traffic.entries(events, SEED):
        waiting.append(entry)
        if len(waiting) == _STORED_AT_ONCE:
            await ledger.append(waiting)
            waiting.clear()
    await ledger.append(waiting)
    return ledger


async def timed(work: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Seconds by the clock on the wall, and of this process's own time."""
    gc.collect()
    wall, own = time.perf_counter(), time.process_time()
    await work()
    return time.perf_counter() - wall, time.process_time() - own


async def folded(log: ReadableLog, last: int = 0) -> None:
    """A state of the whole log, or of its beginning up to a commit."""
    fold = Fold()
    with collecting_later():
        async for entry in log.read(0):
            fold.apply(entry)
            if entry.sequence == last:
                break


async def from_ledger(ledger: Ledger, events: int) -> Rows:
    """Fold and verify from a ledger."""
    fold, fold_own = await timed(lambda: folded(ledger))
    verified, verified_own = await timed(lambda: _verified(ledger))
    return [
        ["fold from a ledger", f"{events / fold:,.0f} events/s", own(events, fold_own)],
        ["verify from a ledger", f"{verified:.1f} s", f"{verified_own:.1f} s of processor time"],
    ]


def own(events: int, seconds: float) -> str:
    """A rate by processor time."""
    return f"{events / seconds:,.0f} events/s of processor time"


async def _verified(log: ReadableLog) -> None:
    found = await verify(log)
    assert found.ok, found.reason


async def streaming(root: Path, ledger: Ledger, events: int) -> Rows:
    """Fold from JetStream."""
    server = EmbeddedServer(root / "nats")
    await server.start()
    nc = await nats.connect(server.url)
    try:
        log = await JetStreamLog.create(nc, "default")
        count = await _published(log, ledger, events)
        wall, processor = await timed(lambda: folded(log))
    finally:
        await nc.close()
        await server.stop()
    return [["fold from JetStream", f"{count / wall:,.0f} events/s", own(count, processor)]]


async def _published(log: JetStreamLog, ledger: Ledger, events: int) -> int:
    """The first commits of a ledger, many on their way at once. Returns their events."""
    count, on_their_way = 0, list[Awaitable[object]]()
    async for entry in ledger.read(0):
        on_their_way.append(log.js.publish(log_subject(log.realm), entry.payload, timeout=60))
        count += entry.payload.count(b'"type":"')
        if len(on_their_way) == _IN_FLIGHT:
            await asyncio.gather(*on_their_way)
            on_their_way.clear()
        if count >= events:
            break
    await asyncio.gather(*on_their_way)
    return count


async def history(path: Path, ledger: Ledger) -> tuple[Past, Rows]:
    """Make the history, once."""
    store = await HistoryStore.open(path)
    last = await ledger.last()
    wall, processor = await timed(lambda: HistoryWriter(store).catch_up(ledger, last))
    await ledger.sync()
    size, log_size = map(_size, (path, ledger.path))
    [(images,)] = await store.query("SELECT sum(length(image)) FROM keyframes")
    note = f"{size / 1e6:.0f} MB, keyframes {(images or 0) / 1e6:.0f}; the log {log_size / 1e6:.0f}"
    return Past(ledger, store, last), [
        ["history made, once", f"{wall:.1f} s", f"{processor:.1f} s of processor time"],
        ["size of the history", f"{size / log_size:.2f} of the log", note],
    ]


def _size(path: Path) -> int:
    return path.stat().st_size


def spread(seconds: list[float]) -> str:
    """Median and the worst of many."""
    return f"p50 {statistics.median(seconds) * 1e3:.1f} ms, max {max(seconds) * 1e3:.1f} ms"


async def sample(past: Past, count: int) -> list[tuple[str, Position]]:
    """Addresses and moments to ask about, the same in each run."""
    found = await past.store.query("SELECT DISTINCT address FROM intervals ORDER BY 1")
    chosen = random.Random(SEED)
    return [
        (chosen.choice(found)[0], Position(chosen.randrange(1, past.last), 0)) for _ in range(count)
    ]


async def questions(past: Past) -> Rows:
    """What an auditor asks, warm."""
    asked = await sample(past, QUESTIONS)
    who = [await _seconds(_who(past, address, position)) for address, position in asked]
    touched = [await _seconds(_touched(past, address)) for address, _ in asked]
    states = [await _seconds(_pools(past, position)) for _, position in asked[:STATES]]
    return [
        ["who ADDRESS --at", spread(who), f"{QUESTIONS} addresses and moments"],
        ["history ip ADDRESS", spread(touched), "with the events from the log"],
        ["get pools --at", spread(states), f"{STATES} moments anywhere"],
    ]


async def _seconds(question: Awaitable[object]) -> float:
    """How long one question takes."""
    started = time.perf_counter()
    await question
    return time.perf_counter() - started


async def _who(past: Past, address: str, position: Position) -> None:
    found = await past.holding(address, position)
    if found.interval is not None:
        await holder_row(past, found.interval, position)


async def _touched(past: Past, address: str) -> int:
    numbers = await touching(past, "ip", address, START, (await past.now()).position)
    return len([logged async for logged in past.events(numbers)])


async def _pools(past: Past, position: Position) -> None:
    reading.pools(await past.state(position), queries.Pools())


async def annotation(root: Path, past: Past) -> Rows:
    """Flow records with their pods."""
    path = root / "flows.jsonl"
    await _write_flows(path, past)
    tracks = Tracks(past)
    loading, _ = await timed(tracks.load)
    out = root / "annotated.jsonl"

    async def annotate() -> None:
        with path.open("rb") as lines, out.open("wb") as to:
            fields = Fields(("src",), "ts", 1_000_000)
            async for part in annotate_jsonl(tracks, iter(lines), fields, Flaws()):
                to.write(part)

    wall, processor = await timed(annotate)
    note = f"{FLOWS / processor:,.0f} a second of processor time; {loading:.1f} s before the first"
    return [["annotate, JSON lines", f"{FLOWS / wall:,.0f} records/s", note]]


async def _write_flows(path: Path, past: Past) -> None:
    chosen = random.Random(SEED)
    rows = await past.store.query("SELECT DISTINCT address FROM intervals ORDER BY 1")
    [(first, last)] = await past.store.query("SELECT min(time), max(time) FROM commits")
    times = sorted(chosen.randrange(first, last) for _ in range(FLOWS))
    with path.open("w") as file:
        for moment in times:
            flow = {
                "ts": format_time(moment),
                "src": chosen.choice(rows)[0],
                "dst": chosen.choice(rows)[0],
                "dport": 443,
                "bytes": chosen.randrange(1_000_000),
            }
            file.write(json.dumps(flow) + "\n")


async def followed(root: Path, events: int) -> Rows:
    """How soon a commit is in a history that follows."""
    server = EmbeddedServer(root / "followed")
    await server.start()
    nc = await nats.connect(server.url)
    store = await HistoryStore.open(root / "followed.db")
    lags: list[float] = []
    try:
        log = await JetStreamLog.create(nc, "default")
        writer = HistoryWriter(store)
        await writer.begin()
        written = writer.follow(log, log.follow(0))
        for number, entry in zip(range(FOLLOWED), traffic.entries(events, SEED), strict=False):
            assert isinstance(await log.append(entry.payload, after=number), Appended)
            started = time.perf_counter()
            assert await anext(written) == entry.sequence
            lags.append(time.perf_counter() - started)
    finally:
        await store.close()
        await nc.close()
        await server.stop()
    lags = lags[1:]
    return [["a commit is in the history", spread(lags), "after it was acknowledged"]]


async def peers(root: Path, past: Past) -> Rows:
    """The same questions to others."""
    asked = await sample(past, QUESTIONS)
    return [
        *await folded_aggregates(root, past.log),
        *await _eventsourcing(root, past, asked),
        *await _jq(root, past, asked),
    ]


async def folded_aggregates(root: Path, ledger: ReadableLog) -> Rows:
    """The beginning of the same history read back: aggregates by the package, a fold by us."""
    model, last, events = Model(root / "aggregates.db"), 0, 0
    async for entry in ledger.read(0):
        told = decode(entry.payload).events
        for event in told:
            model.tell(event)
        last, events = entry.sequence, events + len(told)
        if events >= AGGREGATE_EVENTS:
            break
    made = model.saved()
    theirs = await _own_seconds(lambda: model.read_back(made))
    ours = await _own_seconds(lambda: folded(ledger, last))
    note = f"{events:,} events, the same to both; processor time; {theirs / ours:.1f} times ours"
    return [
        ["eventsourcing: fold", f"{events / theirs:,.0f} events/s", note],
        ["our fold of the same", f"{events / ours:,.0f} events/s", "every event, and the chain"],
    ]


async def _own_seconds(work: Callable[[], Awaitable[object]]) -> float:
    return (await timed(work))[1]


async def _eventsourcing(root: Path, past: Past, asked: list[tuple[str, Position]]) -> Rows:
    """An aggregate an address, as the package's users would have it."""
    recorder = SQLiteApplicationRecorder(SQLiteDatastore(str(root / "eventsourcing.db")))
    recorder.create_table()
    started = time.perf_counter()
    count = await record(recorder, past)
    making = time.perf_counter() - started
    who: list[float] = []
    for address, position in asked:
        began = time.perf_counter()
        stored = recorder.select_events(uuid.uuid5(NAMESPACE, address))
        states = [json.loads(event.state) for event in stored]
        next((s for s in reversed(states) if s["position"] <= position.number), None)
        who.append(time.perf_counter() - began)
    size = _size(root / "eventsourcing.db") / 1e6
    note = f"{count:,} events of addresses, {size:.0f} MB; chain and totals not looked at"
    return [
        ["eventsourcing: made", f"{making:.1f} s", note],
        ["eventsourcing: who and history", spread(who), "one aggregate read whole"],
    ]


async def _jq(root: Path, past: Past, asked: list[tuple[str, Position]]) -> Rows:
    """`jq` over the log as JSON lines."""
    path = root / "log.jsonl"
    await export(past.log, path, "jsonl", "default")
    address = asked[0][0]
    program = (
        f'.time as $t | .events[] | select(.addresses[]?.address | startswith("{address}/"))'
        " | [$t, .allocation]"
    )
    started = time.perf_counter()
    jq = await asyncio.create_subprocess_exec("jq", "-c", program, path, stdout=subprocess.DEVNULL)
    assert await jq.wait() == 0
    wall = time.perf_counter() - started
    return [["jq: history ip", f"{wall:.1f} s", "allocations only; releases name no address"]]


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS)))
