"""nats-py's client with what it lacks: a door, the short way in, and another key.

All that this project knows of the inside of nats-py is here; the lock files hold its version.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from nats.aio.client import Client as NatsClient

from ipledger.events import keys, names
from ipledger.events.bus import Message, Subscription

_DROPS_BETWEEN_PAUSES = 256


def _hears_all(subject: bytes) -> bool:
    return False


class _Taken(NamedTuple):
    """A `Message`, of which the headers are read if somebody asks."""

    subject: str
    reply: str
    data: bytes
    head: bytes | None

    @property
    def headers(self) -> Mapping[str, str] | None:
        """See `Message.headers`."""
        return Client.headers_in(self.head) if self.head else None


class Client(NatsClient):
    """A client of NATS.

    It drops what comes on a subject which `is_deaf_to` it before anything is made of it: where a
    node floods, to make a message and queue it takes longer than to see that nobody will read it
    (ADR 110).
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_deaf_to: Callable[[bytes], bool] = _hears_all
        self.pause_s = 0.0
        self._dropped = 0
        self._takes: dict[int, Callable[[Message], Awaitable[None]]] = {}

    async def take(self, subject: str, cb: Callable[[Message], Awaitable[None]]) -> Subscription:
        """Subscribe with a callback that is called as each message is read: nothing is queued.

        Nothing else is read meanwhile, so that a callback must not wait for an answer of NATS.
        """
        subscription = await self.subscribe(subject, cb=cb)
        (sid,) = (sid for sid, one in self._subs.items() if one is subscription)
        self._takes[sid] = cb
        return subscription

    @staticmethod
    def headers_in(head: bytes) -> dict[str, str]:
        """The headers in what came before a payload."""
        return Client._parse_header_lines(head)

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        super()._remove_sub(sid, max_msgs)
        self._takes.pop(sid, None)

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        if self.is_deaf_to(subject):
            return await self._drop()
        take = self._takes.get(sid)
        if take is None:
            return await super()._process_msg(sid, subject, reply, data, headers)
        try:
            return await take(_Taken(subject.decode(), reply.decode(), data, headers))
        except Exception as error:  # reading must go on
            return await self._error_cb(error)

    async def _drop(self) -> None:
        self._dropped += 1
        if self.pause_s and self._dropped % _DROPS_BETWEEN_PAUSES == 0:
            await asyncio.sleep(self.pause_s)

    async def become(self, seed: bytes) -> None:
        """Connect anew as the user of this key, whose answers come to inboxes of its own.

        Who waits for an answer meanwhile gets none, and asks again.
        """
        key, inboxes = keys.public_key(seed), bytes(self._inbox_prefix).decode()
        for sid in [sid for sid, sub in self._subs.items() if sub.subject.startswith(inboxes)]:
            del self._subs[sid]
        self._resp_sub_prefix = None
        self._inbox_prefix = bytearray(names.inbox(key).encode())
        self._public_nkey, self._nkeys_seed_str = key, seed.decode()
        await self.force_reconnect()
