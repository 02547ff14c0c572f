"""What one node's flood costs the others, and what a load beyond capacity leaves behind.

`ipledger engine` is asked by a well-behaved node, one ADD or DEL after another, while something
else goes on: nothing, another node that sends commands as fast as its connection takes them, one
that sends garbage, 10,000 commands at once from a hundred nodes, and a nats-server that stands
still for three seconds. Memory is that of the engine and of its server, before and when all is
over.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import nats
import uvloop
from harness import OpenRealm, engine_up, percentile, report, resident_mib
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

from ipledger.engine.client import EngineClient, EngineUnavailableError
from ipledger.engine.commands import Allocate, Release
from ipledger.events import names
from ipledger.events.facts import Pod, PoolSpec

SECONDS = 6.0
AT_ONCE = 10_000
NODES = 100
PAUSE_S = 3.0
_POOL = PoolSpec("pool", 0, "10.0.0.0/8", ips=("10.0.0.1-10.255.0.0",), default=True)
_PATIENCE_S = 30.0


@dataclass
class Tally:
    """What the well-behaved node met: milliseconds of each call, and those that got no answer."""

    latencies_ms: list[float] = field(default_factory=list[float])
    unanswered: int = 0
    notes: str = ""

    def row(self, name: str) -> list[str]:
        """A row of the table."""
        times = self.latencies_ms or [float("nan")]
        shares = [f"{percentile(times, share):.2f}" for share in (0.5, 0.99, 1.0)]
        return [name, str(len(self.latencies_ms)), *shares, str(self.unanswered), self.notes]


def body(number: int) -> bytes:
    """An ADD of a pod of that number."""
    uid = f"flood-{number}"
    pod = {"namespace": "bench", "name": uid, "uid": uid}
    return json.dumps({"pod": pod, "sandbox": uid, "interface": "eth0"}).encode()


def flood(url: str, garbage: bytes, ends: float) -> None:
    """Send as fast as the server takes it, and read no answer. Another process."""
    asyncio.run(_flood(url, garbage, ends))


async def _flood(url: str, garbage: bytes, ends: float) -> None:
    host, _, port = url.removeprefix("nats://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b'CONNECT {"verbose":false,"pedantic":false}\r\nSUB _INBOX.flood 1\r\n')
    reading = asyncio.create_task(_drop(reader, writer))
    subject = names.node_command(names.REALM_DEFAULT, "flooding", "allocate").encode()
    number = 0
    while time.time() < ends:
        number += 1
        payload = garbage or body(number)
        writer.write(b"PUB %b _INBOX.flood %d\r\n%b\r\n" % (subject, len(payload), payload))
        if number % 100 == 0 or len(payload) > 1000:
            await writer.drain()
    reading.cancel()
    writer.close()
    print(f"flood: {number} commands sent", flush=True)


async def _drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 20):
        if data.endswith(b"PING\r\n"):
            writer.write(b"PONG\r\n")


@asynccontextmanager
async def flooding(url: str, tally: Tally, garbage: bytes = b"") -> AsyncGenerator[None]:
    """A node floods, with ADDs or with garbage."""
    process = multiprocessing.get_context("spawn").Process(
        target=flood, args=(url, garbage, time.time() + SECONDS + 2)
    )
    process.start()
    await asyncio.sleep(1.5)
    yield
    await asyncio.to_thread(process.join)


@asynccontextmanager
async def at_once(url: str, tally: Tally) -> AsyncGenerator[None]:
    """10,000 commands that nobody waited for in between; all must be answered."""
    nc = await nats.connect(url)
    answers: Counter[str] = Counter()
    inbox = nc.new_inbox()

    async def count(message: Msg) -> None:
        answers[json.loads(message.data)["type"]] += 1

    await nc.subscribe(inbox, cb=count)
    ends = time.perf_counter() + _PATIENCE_S
    for number in range(AT_ONCE):
        node = f"node-{number % NODES}"
        subject = names.node_command(names.REALM_DEFAULT, node, "allocate")
        await nc.publish(subject, body(1_000_000_000 + number), reply=inbox)
    await nc.flush()
    yield
    while sum(answers.values()) < AT_ONCE and time.perf_counter() < ends:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    tally.notes = ", ".join(f"{kind} {count}" for kind, count in sorted(answers.items()))
    await nc.close()


@asynccontextmanager
async def paused(node: OpenRealm, tally: Tally) -> AsyncGenerator[None]:
    """The server stands still for a while."""
    server = node.server_pid()

    async def pause() -> None:
        await asyncio.sleep(1)
        os.kill(server, signal.SIGSTOP)
        await asyncio.sleep(PAUSE_S)
        os.kill(server, signal.SIGCONT)

    task = asyncio.create_task(pause())
    yield
    await task


@asynccontextmanager
async def quiet() -> AsyncGenerator[None]:
    """Nothing else goes on."""
    yield


async def well_behaved(nc: NatsClient, tally: Tally, first: int) -> None:
    """ADD and DEL, one after another, for some seconds."""
    client = EngineClient(nc, timeout_s=_PATIENCE_S)
    ends = time.perf_counter() + SECONDS
    number = first
    while time.perf_counter() < ends:
        number += 1
        name = f"good-{number}"
        add = Allocate(pod=Pod("bench", name, name), sandbox=name, interface="eth0", node="good")
        delete = Release(sandbox=name, interface="eth0", node="good")
        for ask in (lambda: client.allocate(add), lambda: client.release(delete)):  # noqa: B023
            started = time.perf_counter()
            try:
                await ask()
            except EngineUnavailableError:
                tally.unanswered += 1
            else:
                tally.latencies_ms.append((time.perf_counter() - started) * 1000)


async def measure(node: OpenRealm) -> list[list[str]]:
    """The rows of the table."""
    url = node.nats_url
    scenes: list[tuple[str, Callable[[Tally], AbstractAsyncContextManager[None]]]] = [
        ("nothing else", lambda tally: quiet()),
        ("a node floods with ADDs", lambda tally: flooding(url, tally)),
        ("a node floods with garbage", lambda tally: flooding(url, tally, b'{"pod":[')),
        ("and with much of it at once", lambda tally: flooding(url, tally, b"[" * 1_000_000)),
        (f"{AT_ONCE} ADDs of {NODES} nodes at once", lambda tally: at_once(url, tally)),
        (f"nats-server stopped for {PAUSE_S:g} s", lambda tally: paused(node, tally)),
        ("nothing else, again", lambda tally: quiet()),
    ]
    rows: list[list[str]] = []
    for index, (name, scene) in enumerate(scenes):
        nc = await nats.connect(url)
        tally = Tally()
        async with scene(tally):
            await well_behaved(nc, tally, index * 1_000_000)
        await nc.close()
        memory = [f"{resident_mib(pid):.0f}" for pid in (node.pid, node.server_pid())]
        rows.append([*tally.row(name), *memory])
        print(rows[-1], flush=True)
    return rows


def main() -> int:
    """Measure and print."""
    with engine_up() as node:
        node.apply(_POOL)
        rows = uvloop.run(measure(node))
        rows[-1][6] = f"{node.pools()['pool'].allocated} held"
    title = "A well-behaved node while something else goes on, and memory in MiB"
    columns = (
        "meanwhile",
        "calls",
        "p50 ms",
        "p99",
        "longest",
        "unanswered",
        "",
        "engine",
        "server",
    )
    report("overload", title, columns, rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
