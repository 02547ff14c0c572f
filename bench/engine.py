"""Durable allocations a second over NATS, at 1, 16 and 256 clients, beside three floors.

The engine runs in `ipledger up`. Each client asks for the next pod as soon as the last one is
answered (`load.py`). Afterwards the log is verified, and holds every answered allocation.

The floors, in the same rounds on a server of their own that asks for no key: `bare.py`, which takes
the same requests with the same library and answers them behind one JetStream message, without
deciding anything; a plain JetStream publisher that sends the engine's own commits again, one at a
time, to a stream of the same settings, with nobody asking or answered; and a plain SQLite table
with a row for each event, a transaction for each commit and `synchronous=FULL`.
"""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import bare
import nats
import uvloop
from harness import cpu_seconds, median_and_spread, node_up, percentile, report
from load import Ask, Who, allocate, connect
from support.nats_cluster import cluster
from support.node import Node

from ipledger.events import commit, names
from ipledger.events.direct_log import DirectLog
from ipledger.events.facts import PoolSpec
from ipledger.events.jetstream import stream_config

RUNS = 5
SECONDS = 4.0
FLOOR_COMMITS = 200
POOL = PoolSpec("pool", 0, "10.0.0.0/8", ips=("10.0.0.1-10.255.0.0",), default=True)


@dataclass
class Tally:
    """What all clients of a run did; pods are numbered on from `number`."""

    number: int
    until: float
    latencies_ms: list[float] = field(default_factory=list[float])

    def next(self) -> Ask | None:
        """The command for the next pod."""
        if time.perf_counter() >= self.until:
            return None
        self.number += 1
        return Ask("allocate", allocate(self.number))

    def answered(self, asked: Ask, body: bytes, seconds: float) -> None:
        """Fails on any answer but an allocation."""
        assert b'"type":"Allocated"' in body, (asked, body)
        self.latencies_ms.append(seconds * 1000)


@dataclass
class Figures:
    """What was measured at one number of clients, a value for each run."""

    rates: list[float] = field(default_factory=list[float])
    engine_us: list[float] = field(default_factory=list[float])
    server_us: list[float] = field(default_factory=list[float])
    latencies_ms: list[float] = field(default_factory=list[float])
    bare: list[float] = field(default_factory=list[float])
    jetstream: list[float] = field(default_factory=list[float])
    sqlite: list[float] = field(default_factory=list[float])


async def run(url: str, who: Who, clients: int, start: int) -> tuple[float, Tally]:
    """One run: answers a second, and what was done."""
    started = time.perf_counter()
    tally = Tally(start, started + SECONDS)
    connected = [await connect(url, who, f"{start}-{at}", tally) for at in range(clients)]
    await asyncio.gather(*(client.done for client in connected))
    return len(tally.latencies_ms) / (time.perf_counter() - started), tally


async def last_commits(node: Node) -> list[bytes]:
    """The payloads of the newest commits."""
    nc = await node.as_user()
    log = DirectLog(nc, node.realm)
    last = await log.last()
    payloads = [entry.payload async for entry in log.read(max(last - FLOOR_COMMITS, 0))]
    await nc.close()
    return payloads


async def publisher_rate(url: str, payloads: list[bytes], events: int) -> float:
    """Events a second of a plain JetStream publisher, one message at a time."""
    nc = await nats.connect(url)
    js = nc.jetstream()
    await js.add_stream(stream_config("floor"))
    subject, stream = names.log_subject("floor"), names.stream("floor")
    started = time.perf_counter()
    for payload in payloads:
        await js.publish(subject, payload, stream=stream)
    seconds = time.perf_counter() - started
    await js.delete_stream(stream)
    await nc.close()
    return events / seconds


def table_rate(path: Path, batches: list[list[bytes]]) -> float:
    """Events a second of a plain SQLite table, a transaction for each batch."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE floor (id INTEGER PRIMARY KEY, event BLOB NOT NULL)")
    started = time.perf_counter()
    for batch in batches:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO floor (event) VALUES (?)", [(row,) for row in batch])
        connection.execute("COMMIT")
    seconds = time.perf_counter() - started
    connection.close()
    path.unlink()
    return sum(map(len, batches)) / seconds


def bare_rate(url: str, clients: int, size: int) -> float:
    """Answers a second of the least that answers, with so many bytes for each in its stream."""
    command = [sys.executable, str(Path(__file__).with_name("bare.py")), url, str(size)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        rate, _ = uvloop.run(run(url, Who("node-1", realm=bare.REALM), clients, 0))
        process.kill()
    uvloop.run(delete_stream(url, names.stream(bare.REALM)))
    return rate


async def delete_stream(url: str, stream: str) -> None:
    """Give its space back."""
    nc = await nats.connect(url)
    await nc.jetstream().delete_stream(stream)
    await nc.close()


def floors(node: Node, url: str, clients: int, figures: Figures) -> None:
    """What the newest commits cost without an engine, on the server at `url`."""
    payloads = uvloop.run(last_commits(node))
    batches = [
        [commit.encode_event(event) for event in commit.decode(payload).events]
        for payload in payloads
    ]
    events = sum(map(len, batches))
    size = sum(map(len, payloads)) // events
    figures.bare.append(bare_rate(url, clients, size))
    figures.jetstream.append(uvloop.run(publisher_rate(url, payloads, events)))
    figures.sqlite.append(table_rate(node.root / "floor.db", batches))


def one_run(node: Node, clients: int, number: int, figures: Figures) -> int:
    """Load the engine. The number of the last pod."""
    who = Who.of(node)
    pids = node.pid, node.server_pid()
    before = [cpu_seconds(pid) for pid in pids]
    rate, tally = uvloop.run(run(node.nats_url, who, clients, number))
    spent = [cpu_seconds(pid) - then for pid, then in zip(pids, before, strict=True)]
    figures.rates.append(rate)
    figures.engine_us.append(spent[0] / len(tally.latencies_ms) * 1e6)
    figures.server_us.append(spent[1] / len(tally.latencies_ms) * 1e6)
    figures.latencies_ms += tally.latencies_ms
    return tally.number


def measure(clients: int) -> Figures:
    """All runs at one number of clients."""
    figures = Figures()
    with node_up() as node, cluster(node.root, size=1) as plain:
        plain.start(0)
        node.apply(POOL)
        number = 0
        for _ in range(RUNS):
            number = one_run(node, clients, number, figures)
            floors(node, plain.url, clients, figures)
        allocated = node.pools()["pool"].allocated
        assert allocated == len(figures.latencies_ms), "an allocation was lost or doubled"
    return figures


def engine_row(clients: int, figures: Figures) -> list[str]:
    """What the engine did."""
    return [
        str(clients),
        median_and_spread(figures.rates, 0),
        f"{percentile(figures.latencies_ms, 0.5):.2f}",
        f"{percentile(figures.latencies_ms, 0.99):.2f}",
        median_and_spread(figures.engine_us, 0),
        median_and_spread(figures.server_us, 0),
    ]


def floors_row(clients: int, figures: Figures) -> list[str]:
    """What the floors did, and the engine to them, run by run."""
    row = [str(clients)]
    for floor in (figures.bare, figures.jetstream, figures.sqlite):
        ratios = [ours / other for ours, other in zip(figures.rates, floor, strict=True)]
        row += [median_and_spread(floor, 0), median_and_spread(ratios)]
    return row


def main() -> int:
    """Measure and print."""
    measured = {clients: measure(clients) for clients in (1, 16, 256)}
    report(
        "engine",
        "Durable allocations over NATS",
        (
            "clients",
            f"allocations/s, median of {RUNS} runs",
            "p50 ms",
            "p99 ms",
            "µs of CPU each: engine",
            "nats-server",
        ),
        [engine_row(*item) for item in measured.items()],
    )
    report(
        "floors",
        "The same without deciding",
        (
            "clients",
            "bare.py, answers/s",
            "ours to it",
            "plain publisher, events/s",
            "ours to it",
            "plain SQLite table, events/s",
            "ours to it",
        ),
        [floors_row(*item) for item in measured.items()],
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
