"""Durable allocations a second over NATS, at 1, 16 and 256 clients.

The engine runs in `ipledger up`. The clients are another process, each with a connection of its
own, each asking for the next pod as soon as the last one is answered. They speak the NATS
protocol by hand: three processes share two cores, and a whole client library in each would
measure the load generator. Afterwards the log is verified, and holds every answered allocation.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import uvloop
from harness import median_and_spread, node_up, percentile, report
from support.node import Node

from ipledger.events import keys, names
from ipledger.events.facts import PoolSpec

RUNS = 5
SECONDS = 4.0
_POD = '{{"namespace":"bench","name":"pod-{0}","uid":"3f1c8f52-9f3b-4a5f-9f11-{0:012d}"}}'
_BODY = '{{"pod":{1},"sandbox":"{0:064x}","interface":"eth0","network":"bench"}}'


@dataclass
class Tally:
    """What all clients of a run did; pods are numbered on from `number`."""

    number: int
    until: float
    latencies_ms: list[float] = field(default_factory=list[float])

    def next_body(self) -> bytes:
        """The command for the next pod."""
        self.number += 1
        return _BODY.format(self.number, _POD.format(self.number)).encode()


class Client(asyncio.Protocol):
    """One connection, one request at a time. Fails on any answer but an allocation."""

    def __init__(self, node: str, seed: bytes, tally: Tally) -> None:
        self._subject = names.node_command(names.REALM_DEFAULT, node, "allocate").encode()
        self._seed = seed
        self._inbox = f"{names.inbox(keys.public_key(seed))}.{id(self)}".encode()
        self._tally = tally
        self._buffer = b""
        self._started = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for what the server says of itself."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def _connect(self, info: dict[str, Any]) -> None:
        """Say who this is, subscribe to the inbox and ask for the first pod."""
        signature = base64.urlsafe_b64encode(keys.pair(self._seed).sign(info["nonce"].encode()))
        who = {"nkey": keys.public_key(self._seed), "sig": signature.decode().rstrip("=")}
        told = json.dumps({"verbose": False, "pedantic": False, **who})
        self._transport.write(b"CONNECT %b\r\n" % told.encode())
        self._transport.write(b"SUB %b 1\r\n" % self._inbox)
        self._ask()

    def _ask(self) -> None:
        body = self._tally.next_body()
        self._started = time.perf_counter()
        head = b"PUB %b %b %d\r\n" % (self._subject, self._inbox, len(body))
        self._transport.write(head + body + b"\r\n")

    def data_received(self, data: bytes) -> None:
        """Take whole protocol messages from what has come."""
        self._buffer += data
        while not self.done.done() and (end := self._buffer.find(b"\r\n")) >= 0:
            line = self._buffer[:end]
            size = int(line.rpartition(b" ")[2]) + 2 if line.startswith(b"MSG ") else 0
            if len(self._buffer) < end + 2 + size:
                return
            body, self._buffer = (
                self._buffer[end + 2 : end + 2 + size],
                self._buffer[end + 2 + size :],
            )
            self._on_message(line, body)

    def _on_message(self, line: bytes, body: bytes) -> None:
        if line.startswith(b"MSG "):
            assert b'"type":"Allocated"' in body, body
            now = time.perf_counter()
            self._tally.latencies_ms.append((now - self._started) * 1000)
            if now < self._tally.until:
                self._ask()
            else:
                self._transport.close()
                self.done.set_result(None)
        elif line == b"PING":
            self._transport.write(b"PONG\r\n")
        else:
            assert line.startswith(b"INFO "), line
            if not self._started:
                self._connect(json.loads(line.removeprefix(b"INFO ")))


async def run(node: Node, clients: int, start: int) -> tuple[float, Tally]:
    """One run: allocations a second, and what was done."""
    host, _, port = node.nats_url.removeprefix("nats://").partition(":")
    seed = node.key(node.own_key).read_bytes().strip()
    started = time.perf_counter()
    tally = Tally(start, started + SECONDS)
    loop = asyncio.get_running_loop()
    connected = [
        await loop.create_connection(
            partial(Client, node.name, seed, tally),
            host,
            int(port),
        )
        for _ in range(clients)
    ]
    await asyncio.gather(*(client.done for _, client in connected))
    return len(tally.latencies_ms) / (time.perf_counter() - started), tally


def measure(clients: int) -> list[str]:
    """A row of the table."""
    rates: list[float] = []
    latencies: list[float] = []
    with node_up() as node:
        node.apply(PoolSpec("pool", 0, "10.0.0.0/8", ips=("10.0.0.1-10.255.0.0",), default=True))
        number = 0
        for _ in range(RUNS):
            rate, tally = uvloop.run(run(node, clients, number))
            number = tally.number
            rates.append(rate)
            latencies += tally.latencies_ms
        assert node.pools()["pool"].allocated == len(latencies), "an allocation was lost or doubled"
    p50, p99 = percentile(latencies, 0.5), percentile(latencies, 0.99)
    return [str(clients), median_and_spread(rates), f"{p50:.2f}", f"{p99:.2f}"]


def main() -> int:
    """Measure and print."""
    columns = ("clients", f"allocations/s, median of {RUNS} runs", "p50 ms", "p99 ms")
    rows = [measure(clients) for clients in (1, 16, 256)]
    report("engine", "Durable allocations over NATS", columns, rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
