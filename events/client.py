"""nats-py's client with what it lacks: a door, and another key without another client.

All that this project knows of the inside of nats-py is here; the lock files hold its version.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from nats.aio.client import Client as NatsClient

from ipledger.events import keys, names

_DROPS_BETWEEN_PAUSES = 256


def _hears_all(subject: bytes) -> bool:
    return False


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

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        if not self.is_deaf_to(subject):
            return await super()._process_msg(sid, subject, reply, data, headers)
        self._dropped += 1
        if self.pause_s and self._dropped % _DROPS_BETWEEN_PAUSES == 0:
            await asyncio.sleep(self.pause_s)
        return None

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
