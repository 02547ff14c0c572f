"""Load on the bus: many clients that speak the NATS protocol by hand.

Load generator, engine and nats-server share two cores, and a whole client library for each client
would measure the load generator. A client has a connection of its own and keeps up to `in_flight`
requests on their way; what it asks next and what it makes of an answer is its `Asker`'s to say.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from dataclasses import dataclass
from typing import NamedTuple, Protocol, cast

from support.node import Node

from ipledger.events import keys, names

_POD = '{{"namespace":"bench","name":"pod-{0}","uid":"3f1c8f52-9f3b-4a5f-9f11-{0:012d}"}}'
_ALLOCATE = '{{"pod":{1},"sandbox":"{0:064x}","interface":"eth0","network":"bench"}}'
_RELEASE = '{{"sandbox":"{0:064x}","interface":"eth0"}}'


class Ask(NamedTuple):
    """A request; `delay_s` is how long to wait before it is sent."""

    verb: str
    body: bytes
    delay_s: float = 0.0


class Asker(Protocol):
    """What one client does."""

    def next(self) -> Ask | None:
        """The next request, or None if there is no more to ask."""
        ...

    def answered(self, asked: Ask, body: bytes, seconds: float) -> None:
        """Take an answer. `seconds` run from when it was to be sent."""
        ...


def allocate(number: int) -> bytes:
    """The command of the numbered pod's ADD."""
    return _ALLOCATE.format(number, _POD.format(number)).encode()


def release(number: int) -> bytes:
    """The command of the numbered pod's DEL."""
    return _RELEASE.format(number).encode()


@dataclass(slots=True)
class _Slot:
    """One request at a time."""

    number: int
    asked: Ask | None = None
    since: float = 0.0


class Who(NamedTuple):
    """A node, with the seed of its key where the server asks for one."""

    node: str
    seed: bytes = b""
    realm: str = names.REALM_DEFAULT

    @classmethod
    def of(cls, node: Node) -> Who:
        """A node that runs `ipledger up`, by the key of its agent."""
        return cls(node.name, node.key(node.own_key).read_bytes().strip())

    def inbox(self, name: str) -> bytes:
        """Where the connection of that name has its answers."""
        user = names.inbox(keys.public_key(self.seed)) if self.seed else "_INBOX.bench"
        return f"{user}.{name}".encode()

    def hello(self, info: bytes) -> bytes:
        """What to say to a server that has told of itself."""
        options: dict[str, object] = {"verbose": False, "pedantic": False}
        if self.seed:
            nonce = json.loads(info.removeprefix(b"INFO "))["nonce"].encode()
            pair = keys.pair(self.seed)
            signature = base64.urlsafe_b64encode(bytes(pair.sign(nonce))).rstrip(b"=")
            options |= {"nkey": keys.public_key(self.seed), "sig": signature.decode()}
        return b"CONNECT " + json.dumps(options).encode() + b"\r\n"


class Client(asyncio.Protocol):
    """One connection of a node. `done` is set when its asker has no more to ask."""

    def __init__(self, who: Who, name: str, asker: Asker, in_flight: int = 1) -> None:
        self._who = who
        self._subject = names.node_command(who.realm, who.node, "{}")
        self._inbox = who.inbox(name)
        self._asker = asker
        self._slots = [_Slot(number) for number in range(in_flight)]
        self._open = in_flight
        self._buffer = b""
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the server to tell of itself."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def _begin(self, info: bytes) -> None:
        """Subscribe to the inbox and ask the first requests."""
        self._transport.write(self._who.hello(info))
        self._transport.write(b"SUB %b.* 1\r\n" % self._inbox)
        for slot in self._slots:
            self._ask(slot)

    def connection_lost(self, exc: Exception | None) -> None:
        """A connection that the server closes ends the run."""
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("closed by the server"))

    def _ask(self, slot: _Slot) -> None:
        slot.asked = self._asker.next()
        if slot.asked is None:
            self._open -= 1
            if not self._open:
                self.done.set_result(None)
                self._transport.close()
            return
        slot.since = time.perf_counter() + max(slot.asked.delay_s, 0.0)
        if slot.asked.delay_s > 0:
            self._loop.call_later(slot.asked.delay_s, self._send, slot, slot.asked)
        else:
            self._send(slot, slot.asked)

    def _send(self, slot: _Slot, ask: Ask) -> None:
        subject = self._subject.format(ask.verb).encode()
        head = b"PUB %b %b.%d %d\r\n" % (subject, self._inbox, slot.number, len(ask.body))
        self._transport.write(head + ask.body + b"\r\n")

    def data_received(self, data: bytes) -> None:
        """Take whole protocol messages from what has come."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n")) >= 0:
            line = self._buffer[:end]
            size = int(line.rpartition(b" ")[2]) + 2 if line.startswith(b"MSG ") else 0
            if len(self._buffer) < end + 2 + size:
                return
            body = self._buffer[end + 2 : end + size]
            self._buffer = self._buffer[end + 2 + size :]
            self._on_message(line, body)

    def _on_message(self, line: bytes, body: bytes) -> None:
        if line.startswith(b"MSG "):
            slot = self._slots[int(line.split(b" ", 2)[1].rpartition(b".")[2])]
            assert slot.asked is not None, "an answer to nothing"
            self._asker.answered(slot.asked, body, time.perf_counter() - slot.since)
            self._ask(slot)
        elif line == b"PING":
            self._transport.write(b"PONG\r\n")
        else:
            assert line.startswith(b"INFO "), line
            self._begin(line)


async def connect(url: str, who: Who, name: str, asker: Asker, in_flight: int = 1) -> Client:
    """A client that asks. `name` is its own among those of the node."""
    host, _, port = url.removeprefix("nats://").partition(":")
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(
        lambda: Client(who, name, asker, in_flight), host, int(port)
    )
    return client
