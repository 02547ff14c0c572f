"""A NATS server and the connections to it: what is said arrives late, or not at all.

As core NATS has it: what one connection says reaches one subscription in the order it was said, at
most once; a request that nobody listens to is answered at once; what is published while a client
knows that it is cut off goes out when it is connected again (nats-py keeps it), and what is
published before it knows is lost. Two subscriptions of one client are served side by side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

import nats.errors

from ipledger.events.bus import Message
from simulation.loop import Owner
from simulation.world import World

_STEP_S = 1e-9
"""What keeps two messages of one stream apart."""
PAYLOAD_BYTES_MAX = 1024 * 1024
Callback = Callable[[Message], Awaitable[None]]


class Sent(NamedTuple):
    """A message of the bus."""

    subject: str
    reply: str
    data: bytes
    headers: dict[str, str] | None = None


@dataclass(slots=True)
class Weather:
    """How the net is. Probabilities of a message, and seconds."""

    lost: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    late_s: float = 0.0


@dataclass(eq=False, slots=True)
class Net:
    """The server: who is connected to it and listens to what."""

    world: World
    weather: Weather = field(default_factory=Weather)
    is_up: bool = True
    random: Random = field(init=False)
    interest: list[Subscription] = field(default_factory=list["Subscription"])
    connections: dict[str, Connection] = field(default_factory=dict[str, "Connection"])
    _opened: int = 0

    def __post_init__(self) -> None:
        self.random = self.world.random("net")

    def connect(self, owner: Owner, name: str) -> Connection:
        """A new connection for a process."""
        self._opened += 1
        connection = Connection(self, owner, name, f"_INBOX.c{self._opened}")
        self.connections[connection.inbox] = connection
        if not self.is_up:
            connection.cut(noticed=True)
        return connection

    def delay_s(self, lag_s: float) -> float:
        """How long a message takes."""
        random, weather = self.random, self.weather
        delay = random.uniform(0.0001, 0.001) + (random.random() * lag_s if lag_s else 0.0)
        if weather.late and random.random() < weather.late:
            delay += random.random() * weather.late_s
        return delay

    def is_lost(self) -> bool:
        """Whether this message is."""
        return bool(self.weather.lost) and self.random.random() < self.weather.lost

    def route(self, sent: Sent) -> None:
        """Give a message to whoever listens; tell who waits for an answer if that is nobody."""
        if sent.subject.startswith("_INBOX."):
            found = self.connections.get(sent.subject.rpartition(".")[0])
            if found is not None:
                found.arrives(found, lambda: found.take_inbox(sent))
            return
        queues: dict[str, list[Subscription]] = {}
        is_heard = False
        for subscription in self.interest:
            if subscription.matches(sent.subject):
                is_heard = True
                if subscription.queue:
                    queues.setdefault(subscription.queue, []).append(subscription)
                else:
                    self._give(subscription, sent)
        for members in queues.values():
            self._give(self.random.choice(members), sent)
        if not is_heard and sent.reply:
            self.route(Sent(sent.reply, "", b""))

    def _give(self, subscription: Subscription, sent: Sent) -> None:
        weather = self.weather
        times = 2 if weather.doubled and self.random.random() < weather.doubled else 1
        for _ in range(times):
            subscription.connection.arrives(subscription, lambda: subscription.take(sent))

    def forget(self, connection: Connection) -> None:
        """The server notices that a connection is gone."""
        self.interest = [s for s in self.interest if s.connection is not connection]
        self.connections.pop(connection.inbox, None)


@dataclass(eq=False, slots=True)
class Connection:
    """One client of the server: a `Bus`, and the way to the log.

    `is_cut` is so on the wire, `is_deaf` in one direction only; `is_connected` is what the client
    knows of it. `lag_s` is how much
    later than others what it says and hears may come.
    """

    net: Net
    owner: Owner
    name: str
    inbox: str
    is_connected: bool = True
    is_cut: bool = False
    is_deaf: bool = False
    lag_s: float = 0.0
    max_payload: int = PAYLOAD_BYTES_MAX
    is_closed: bool = False
    _said_at: float = 0.0
    _arrives_at: dict[object, float] = field(default_factory=dict[object, float])
    _kept: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    _inboxes: int = 0
    _waiting: dict[str, asyncio.Future[Sent] | Subscription] = field(
        default_factory=dict[str, "asyncio.Future[Sent] | Subscription"]
    )
    subscriptions: list[Subscription] = field(default_factory=list["Subscription"])

    # The wire.

    def says(self, work: Callable[[], None], *, is_message: bool = True) -> None:
        """Have the server do this once it hears of it. Only messages are lost one by one."""
        if self.net.world.is_over or not self.owner.alive:
            return
        if not self.is_connected:
            self._kept.append(work)
        elif not self.is_cut and not (is_message and self.net.is_lost()):
            at = self.net.world.loop.time() + self.net.delay_s(self.lag_s)
            self._said_at = max(at, self._said_at + _STEP_S)
            self.net.world.at(self._said_at, self._heard, work)

    def _heard(self, work: Callable[[], None]) -> None:
        if self.net.is_up and not self.is_cut:
            work()

    def arrives(self, stream: object, work: Callable[[], None]) -> None:
        """Have the client do this once it hears of it, in the order of this stream, if it does."""
        net = self.net
        if self.is_cut or self.is_deaf or net.is_lost():
            return
        at = net.world.loop.time() + net.delay_s(self.lag_s)
        at = max(at, self._arrives_at.get(stream, 0.0) + _STEP_S)
        self._arrives_at[stream] = at
        net.world.at(at, self._reached, work)

    def _reached(self, work: Callable[[], None]) -> None:
        if not self.is_cut and self.owner.alive:
            work()

    def cut(self, *, noticed: bool) -> None:
        """Break the wire; what is under way on it is lost."""
        self.is_cut = True
        if noticed:
            self.is_connected = False
            self.net.forget(self)

    def mend(self) -> None:
        """Connect again: the client tells what it listens to, and says what it kept."""
        if not (self.is_cut and self.net.is_up and self.owner.alive):
            return
        self.is_cut = False
        self.net.connections[self.inbox] = self
        self.net.interest = [s for s in self.net.interest if s.connection is not self]
        self.net.interest += self.subscriptions
        self.is_connected = True
        kept, self._kept = self._kept, []
        for work in kept:
            self.says(work)

    # The bus.

    def new_inbox(self) -> str:
        """See `Bus.new_inbox`."""
        self._inboxes += 1
        return f"{self.inbox}.{self._inboxes}"

    async def publish(
        self,
        subject: str,
        payload: bytes = b"",
        reply: str = "",
        *,
        headers: dict[str, str] | None = None,
    ) -> None:
        """See `Bus.publish`."""
        if len(payload) > self.max_payload:
            raise nats.errors.MaxPayloadError
        sent = Sent(subject, reply, payload, headers)
        self.says(lambda: self.net.route(sent))

    async def request(
        self,
        subject: str,
        payload: bytes,
        timeout: float,  # noqa: ASYNC109  # as nats-py has it
        *,
        headers: dict[str, str] | None = None,
    ) -> Sent:
        """See `Bus.request`."""
        inbox = self.new_inbox()
        answer: asyncio.Future[Sent] = asyncio.get_running_loop().create_future()
        self._waiting[inbox] = answer
        try:
            await self.publish(subject, payload, inbox, headers=headers)
            async with asyncio.timeout(timeout):
                come = await answer
        except TimeoutError:
            raise nats.errors.TimeoutError from None
        finally:
            del self._waiting[inbox]
        if not come.data:
            raise nats.errors.NoRespondersError
        return come

    async def subscribe(
        self, subject: str, queue: str = "", cb: Callback | None = None
    ) -> Subscription:
        """See `Bus.subscribe`."""
        subscription = Subscription(self, subject, queue)
        if subject.startswith("_INBOX."):
            self._waiting[subject] = subscription
        else:
            self.subscriptions.append(subscription)
            self.says(subscription.listen, is_message=False)
        if cb is not None:
            subscription.giving = asyncio.create_task(subscription.give(cb))
        return subscription

    def take_inbox(self, sent: Sent) -> None:
        """What came to one of the inboxes. Nobody waits for a late answer."""
        waiting = self._waiting.get(sent.subject)
        if isinstance(waiting, Subscription):
            waiting.take(sent)
        elif waiting is not None and not waiting.done():
            waiting.set_result(sent)

    def drop(self, subscription: Subscription) -> None:
        """End a subscription, here and at the server."""
        if subscription.subject.startswith("_INBOX."):
            if self._waiting.pop(subscription.subject, None) is None:
                raise nats.errors.BadSubscriptionError
            return
        if subscription not in self.subscriptions:
            raise nats.errors.BadSubscriptionError
        self.subscriptions.remove(subscription)
        self.says(subscription.listen_no_more, is_message=False)


@dataclass(eq=False, slots=True)
class Subscription:
    """What a client listens to, with what has come and was not taken yet."""

    connection: Connection
    subject: str
    queue: str = ""
    giving: asyncio.Task[None] | None = None
    is_ended: bool = False
    _come: asyncio.Queue[Sent] = field(default_factory=asyncio.Queue[Sent])
    _known: dict[str, bool] = field(default_factory=dict[str, bool])

    async def next_msg(self, timeout: float) -> Sent:  # noqa: ASYNC109  # as nats-py has it
        """See `Subscription.next_msg`."""
        try:
            async with asyncio.timeout(timeout):
                return await self._come.get()
        except TimeoutError:
            raise nats.errors.TimeoutError from None

    async def unsubscribe(self) -> None:
        """See `Subscription.unsubscribe`."""
        self.connection.drop(self)
        self.is_ended = True
        if self.giving is not None:
            self.giving.cancel()

    async def give(self, callback: Callback) -> None:
        """Give what comes to a callback, one after another."""
        while True:
            sent = await self._come.get()
            try:
                await callback(sent)
            except Exception as error:
                self.connection.net.world.fail(
                    f"{self.connection.name}: {callback} raised {error!r}"
                )

    def take(self, sent: Sent) -> None:
        """It has come to the client."""
        if not self.is_ended:
            self._come.put_nowait(sent)

    def listen(self) -> None:
        """The server hears of it."""
        if not self.is_ended and self not in self.connection.net.interest:
            self.connection.net.interest.append(self)

    def listen_no_more(self) -> None:
        """The server hears that it is over."""
        interest = self.connection.net.interest
        if self in interest:
            interest.remove(self)

    def matches(self, subject: str) -> bool:
        """Whether a message on `subject` is for this subscription."""
        known = self._known.get(subject)
        if known is None:
            mine, its = self.subject.split("."), subject.split(".")
            pairs = zip(mine, its, strict=False)
            known = len(mine) == len(its) and all(a in ("*", b) for a, b in pairs)
            self._known[subject] = known
        return known
