"""The bus in memory: the twin of NATS for tests, held to tests/contract/test_bus.py."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count

import nats.errors

from ipledger.events.bus import Message

Callback = Callable[[Message], Awaitable[None]]
PAYLOAD_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sent:
    """A message."""

    subject: str
    reply: str
    data: bytes
    headers: dict[str, str] | None = None


@dataclass(eq=False, slots=True)
class MemorySubscription:
    """Interest of one bus in a subject, with what has come and was not taken yet."""

    bus: MemoryBus
    subject: str
    queue: str
    come: asyncio.Queue[Sent] = field(default_factory=asyncio.Queue[Sent])
    giving: asyncio.Task[None] | None = None

    async def next_msg(self, timeout: float) -> Sent:  # noqa: ASYNC109
        """See `Subscription.next_msg`."""
        try:
            return await asyncio.wait_for(self.come.get(), timeout)
        except TimeoutError:
            raise nats.errors.TimeoutError from None

    async def unsubscribe(self) -> None:
        """See `Subscription.unsubscribe`."""
        if self not in self.bus.net.subscriptions:
            raise nats.errors.BadSubscriptionError
        self.bus.net.subscriptions.remove(self)
        if self.giving is not None:
            self.giving.cancel()

    async def give(self, callback: Callback) -> None:
        """Give what comes to a callback, one after another."""
        while True:
            await callback(await self.come.get())

    def takes(self, subject: str) -> bool:
        """Whether a message on `subject` is for this subscription."""
        mine, its = self.subject.split("."), subject.split(".")
        return len(mine) == len(its) and all(a in ("*", b) for a, b in zip(mine, its, strict=True))


@dataclass(eq=False, slots=True)
class MemoryNet:
    """What connects the buses of a test."""

    subscriptions: list[MemorySubscription] = field(default_factory=list[MemorySubscription])
    inboxes: count[int] = field(default_factory=lambda: count(1))
    turns: count[int] = field(default_factory=count)

    def deliver(self, sent: Sent) -> bool:
        """Hand a message to whoever is connected and subscribed. False if that is nobody."""
        queues: dict[str, list[MemorySubscription]] = {}
        taking = [s for s in self.subscriptions if s.bus.is_connected and s.takes(sent.subject)]
        for subscription in taking:
            if subscription.queue:
                queues.setdefault(subscription.queue, []).append(subscription)
            else:
                subscription.come.put_nowait(sent)
        for members in queues.values():
            members[next(self.turns) % len(members)].come.put_nowait(sent)
        return bool(taking)


@dataclass(eq=False, slots=True)
class MemoryBus:
    """One client's bus. Cut off (`is_connected` is False), it sends and receives nothing."""

    net: MemoryNet
    is_connected: bool = True
    max_payload: int = PAYLOAD_BYTES_MAX

    def new_inbox(self) -> str:
        """See `Bus.new_inbox`."""
        return f"_INBOX.{next(self.net.inboxes)}"

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
        if self.is_connected and not self.net.deliver(sent) and reply:
            self.net.deliver(Sent(reply, "", b""))

    async def request(
        self,
        subject: str,
        payload: bytes,
        timeout: float,  # noqa: ASYNC109
        *,
        headers: dict[str, str] | None = None,
    ) -> Sent:
        """See `Bus.request`."""
        inbox = self.new_inbox()
        subscription = await self.subscribe(inbox)
        try:
            await self.publish(subject, payload, inbox, headers=headers)
            answer = await subscription.next_msg(timeout)
        finally:
            await subscription.unsubscribe()
        if not answer.data:
            raise nats.errors.NoRespondersError
        return answer

    async def subscribe(
        self, subject: str, queue: str = "", cb: Callback | None = None
    ) -> MemorySubscription:
        """See `Bus.subscribe`."""
        subscription = MemorySubscription(self, subject, queue)
        self.net.subscriptions.append(subscription)
        if cb is not None:
            subscription.giving = asyncio.create_task(subscription.give(cb))
        return subscription
