"""The bus port: what ipledger needs of NATS beside the log. Messages on it may be lost.

`nats.aio.client.Client` is one as it is; `tests/support/memory_bus.py` is its twin. Whatever
implements it raises the errors of `nats.errors`: `NoRespondersError` and `TimeoutError` from a
request, `MaxPayloadError` where a payload is too long, and another `Error` where it is cut off.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol


class Message(Protocol):
    """What was published. `reply` is where an answer is expected, or ''."""

    @property
    def subject(self) -> str:
        """The subject it was published on."""
        ...

    @property
    def reply(self) -> str:
        """The subject to answer on, or ''."""
        ...

    @property
    def data(self) -> bytes:
        """The payload."""
        ...

    @property
    def headers(self) -> Mapping[str, str] | None:
        """What goes with the payload, None if nothing does."""
        ...


class Subscription(Protocol):
    """Interest in a subject."""

    async def next_msg(self, timeout: float) -> Message:  # noqa: ASYNC109  # as nats-py has it
        """The next message, where the subscription has no callback."""
        ...

    async def unsubscribe(self) -> None:
        """End it; what has come and was not taken yet is dropped."""
        ...


class Bus(Protocol):
    """Publish and subscribe, at most once each (core NATS)."""

    @property
    def is_connected(self) -> bool:
        """Whether something published now goes out at once."""
        ...

    @property
    def max_payload(self) -> int:
        """The longest payload that can be published, in bytes."""
        ...

    def new_inbox(self) -> str:
        """A subject that nobody else uses."""
        ...

    async def publish(
        self,
        subject: str,
        payload: bytes = b"",
        reply: str = "",
        *,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Send to whoever is subscribed now."""
        ...

    async def request(
        self,
        subject: str,
        payload: bytes,
        timeout: float,  # noqa: ASYNC109  # as nats-py has it
        *,
        headers: dict[str, str] | None = None,
    ) -> Message:
        """Publish, and return the first answer that comes within `timeout` seconds."""
        ...

    async def subscribe(
        self,
        subject: str,
        queue: str = "",
        cb: Callable[[Message], Awaitable[None]] | None = None,
    ) -> Subscription:
        """Receive what is published on a subject (`*` stands for any one token), in order.

        Of the subscriptions with the same `queue`, one receives each message. `cb` must be a
        coroutine function, and is given one message after another.
        """
        ...
