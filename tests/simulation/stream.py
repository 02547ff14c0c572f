"""A simulated JetStream stream, as far as `ipledger.events.jetstream` uses one over a connection.

The stream is durable. Its consumers live in the server's memory and end with it; what a consumer
has delivered it does not deliver again, whether it arrived or not (AckPolicy.NONE).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, cast

import nats.errors
import nats.js.errors
from nats.js.api import ConsumerConfig, Header, PubAck, SequenceInfo

from ipledger.events import names
from ipledger.events.commit import Commit
from ipledger.events.jetstream import JetStreamLog
from simulation.net import Connection, Net
from simulation.world import REALM, World

_API_TIMEOUT_S = 2.0
_WRONG_LAST_SEQUENCE = 10071
_NO_SPACE = 10077


@dataclass(slots=True)
class Disk:
    """How the server's disk is. `write_s` is the longest time of a write."""

    write_s: float = 0.002
    is_full: bool = False
    is_silent: bool = False
    """JetStream has no leader: nothing is answered."""
    answer_lost: float = 0.0
    """How probably a publish that landed is not answered."""


@dataclass(eq=False, slots=True)
class Stream:
    """The realm's log at the server. `payloads[i]` is the entry of sequence i+1."""

    net: Net
    payloads: list[bytes] = field(default_factory=list[bytes])
    disk: Disk = field(default_factory=Disk)
    on_landed: Callable[[int, bytes], None] = lambda sequence, payload: None
    random: Random = field(init=False)
    consumers: dict[int, Consumer] = field(default_factory=dict[int, "Consumer"])
    _landed: asyncio.Event = field(default_factory=asyncio.Event)
    _made: int = 0
    _free_at: float = 0.0
    _life: int = 0
    is_replicated: bool = False
    """Whether a message counts from when it was proposed, though it may not land (ADR 23)."""
    _proposed: int = 0

    def __post_init__(self) -> None:
        self.random = self.world.random("stream")

    @property
    def world(self) -> World:
        """Where it is."""
        return self.net.world

    def log(self, connection: Connection) -> JetStreamLog:
        """The real adapter, over a connection."""
        js = JetStream(self, connection)
        return JetStreamLog(cast("Any", connection), cast("Any", js), REALM)

    def publish(self, payload: bytes, after: int | None, answer: Callable[[object], None]) -> None:
        """A publish has arrived: it is written in its turn, and answered."""
        if self.disk.is_silent:
            return
        if self.is_replicated:
            if after is not None and after != self._proposed:
                answer(_api_error(_WRONG_LAST_SEQUENCE, f"wrong last sequence: {self._proposed}"))
                return
            self._proposed += 1
        self._free_at = max(self._free_at, self.world.loop.time()) + self.random.random() * (
            self.disk.write_s
        )
        self.world.at(self._free_at, self._write, payload, after, answer, self._life)

    def _write(
        self, payload: bytes, after: int | None, answer: Callable[[object], None], life: int
    ) -> None:
        if life != self._life:
            return
        if self.disk.is_silent:
            self._proposed = len(self.payloads)
        elif after is not None and after != len(self.payloads):
            answer(_api_error(_WRONG_LAST_SEQUENCE, f"wrong last sequence: {len(self.payloads)}"))
        elif self.disk.is_full:
            self._proposed = len(self.payloads)
            answer(_api_error(_NO_SPACE, "insufficient storage resources available"))
        else:
            self.payloads.append(payload)
            self._proposed = max(self._proposed, len(self.payloads))
            self.on_landed(len(self.payloads), payload)
            self._landed.set()
            self._landed = asyncio.Event()
            for consumer in list(self.consumers.values()):
                consumer.deliver()
            if self.random.random() >= self.disk.answer_lost:
                answer(PubAck(stream=names.stream(REALM), seq=len(self.payloads)))

    async def landing(self) -> None:
        """Wait until a commit lands."""
        await self._landed.wait()

    def restart(self) -> None:
        """The server was killed: what was not written yet is lost, and so are its consumers."""
        self._life += 1
        self._proposed = len(self.payloads)
        self.consumers.clear()

    def add_consumer(self, consumer: Consumer) -> None:
        """Begin to serve a consumer."""
        self._made += 1
        consumer.number = self._made
        self.consumers[self._made] = consumer


@dataclass(eq=False, slots=True)
class Consumer:
    """The server's part of a pull consumer: the next sequence to deliver, and what is asked for."""

    stream: Stream
    connection: Connection
    next: int
    give: Callable[[int, bytes], None]
    number: int = 0
    wanted: int = 0
    until: float = 0.0

    def pull(self, wanted: int, within_s: float) -> None:
        """The client asks for more."""
        if self.number in self.stream.consumers:
            self.wanted = wanted
            self.until = self.stream.world.loop.time() + within_s
            self.deliver()

    def deliver(self) -> None:
        """Send what is there and asked for."""
        payloads = self.stream.payloads
        while (
            self.next <= len(payloads)
            and self.wanted > 0
            and self.stream.world.loop.time() <= self.until
        ):
            sequence, payload = self.next, payloads[self.next - 1]
            self.next += 1
            self.wanted -= 1
            self.connection.arrives(self, partial(self.give, sequence, payload))


@dataclass(frozen=True, slots=True)
class _Numbers:
    stream: int


@dataclass(frozen=True, slots=True)
class _Metadata:
    sequence: _Numbers


@dataclass(frozen=True, slots=True)
class Delivered:
    """An entry as nats-py hands it over; its headers say nothing of use here."""

    metadata: _Metadata
    data: bytes
    headers: None = None


@dataclass(frozen=True, slots=True)
class ConsumerState:
    """What of `ConsumerInfo` is used."""

    delivered: SequenceInfo


@dataclass(frozen=True, slots=True)
class _State:
    last_seq: int


@dataclass(frozen=True, slots=True)
class _Info:
    state: _State


@dataclass(frozen=True, slots=True)
class _Raw:
    data: bytes


@dataclass(eq=False, slots=True)
class JetStream:
    """What `JetStreamLog` uses of a `JetStreamContext`, over one connection."""

    stream: Stream
    connection: Connection

    async def publish(
        self,
        subject: str,
        payload: bytes,
        timeout: float,  # noqa: ASYNC109  # as nats-py has it
        stream: str,
        headers: dict[str, str],
    ) -> PubAck:
        """See nats-py."""
        assert (subject, stream) == (names.log_subject(REALM), names.stream(REALM))
        expected = headers.get(Header.EXPECTED_LAST_SEQUENCE.value)
        after = None if expected is None else int(expected)
        return cast(
            "PubAck", await self._ask(lambda a: self.stream.publish(payload, after, a), timeout)
        )

    async def stream_info(self, name: str) -> _Info:
        """See nats-py."""
        return cast("_Info", await self._ask(self._api(self._info)))

    def _info(self) -> object:
        return _Info(_State(len(self.stream.payloads)))

    async def get_msg(self, name: str, sequence: int) -> _Raw:
        """See nats-py."""
        return cast("_Raw", await self._ask(self._api(lambda: self._message(sequence))))

    def _message(self, sequence: int) -> object:
        payloads = self.stream.payloads
        if not 0 < sequence <= len(payloads):
            return nats.js.errors.NotFoundError(code=404, err_code=10037)
        return _Raw(payloads[sequence - 1])

    async def pull_subscribe(self, subject: str, stream: str, config: ConsumerConfig) -> Pulling:
        """See nats-py."""
        come: asyncio.Queue[Delivered] = asyncio.Queue()

        def give(sequence: int, payload: bytes) -> None:
            come.put_nowait(Delivered(_Metadata(_Numbers(sequence)), payload))

        consumer = Consumer(self.stream, self.connection, config.opt_start_seq or 1, give)

        def add() -> object:
            self.stream.add_consumer(consumer)
            return None

        await self._ask(self._api(add))
        return Pulling(self, consumer, come)

    def _api(self, work: Callable[[], object]) -> Callable[[Callable[[object], None]], None]:
        def serve(answer: Callable[[object], None]) -> None:
            if not self.stream.disk.is_silent:
                answer(work())

        return serve

    async def consumer_info(self, consumer: Consumer) -> ConsumerState:
        """Raises `NotFoundError` where the server does not know it."""

        def look() -> object:
            if consumer.number in self.stream.consumers:
                return ConsumerState(SequenceInfo(0, consumer.next - 1))
            return nats.js.errors.NotFoundError(code=404, err_code=10014)

        return cast("ConsumerState", await self._ask(self._api(look)))

    async def _ask(
        self, serve: Callable[[Callable[[object], None]], None], timeout_s: float = _API_TIMEOUT_S
    ) -> object:
        """Ask the server; `serve` runs there and answers. Raises what nats-py does."""
        come: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        connection = self.connection

        def answer(what: object) -> None:
            connection.arrives(connection, lambda: None if come.done() else come.set_result(what))

        connection.says(lambda: serve(answer))
        try:
            async with asyncio.timeout(timeout_s):
                what = await come
        except TimeoutError:
            raise nats.errors.TimeoutError from None
        if isinstance(what, Exception):
            raise what
        return what


@dataclass(eq=False, slots=True)
class Pulling:
    """The client's part of a pull consumer."""

    js: JetStream
    consumer: Consumer
    come: asyncio.Queue[Delivered]

    async def fetch(self, batch: int, timeout: float) -> list[Delivered]:  # noqa: ASYNC109
        """See nats-py: at least one message, or `TimeoutError`."""
        if self.come.empty():
            self.js.connection.says(lambda: self.consumer.pull(batch, timeout))
        try:
            async with asyncio.timeout(timeout):
                first = await self.come.get()
        except TimeoutError:
            raise nats.errors.TimeoutError from None
        rest = [self.come.get_nowait() for _ in range(min(self.come.qsize(), batch - 1))]
        return [first, *rest]

    async def consumer_info(self) -> ConsumerState:
        """See nats-py."""
        return await self.js.consumer_info(self.consumer)

    async def unsubscribe(self) -> None:
        """See nats-py."""


def _api_error(code: int, what: str) -> nats.js.errors.APIError:
    return nats.js.errors.APIError(code=400, err_code=code, description=what)


def describe(read: Commit) -> str:
    """A commit in few words, for the trace."""
    kinds = " ".join(type(event).__name__ for event in read.events)
    return f"epoch {read.epoch} {read.time} {kinds}"
