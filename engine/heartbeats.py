"""Heartbeats: who leads, as far as one can hear. Liveness only.

The leader publishes one every `INTERVAL_S`; an engine that has heard none for `SILENCE_S`, and a
random while that differs from engine to engine, tries to lead. Nothing here is part of safety:
a heartbeat that is late, lost or false costs a change of leaders and nothing else, since only
the log decides who may append (DESIGN section 2, idea 4).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import msgspec
import nats.errors

from ipledger.events import names
from ipledger.events.bus import Bus, Message, Subscription
from ipledger.events.position import START, Position, PositionText, from_message

_log = logging.getLogger(__name__)

INTERVAL_S = 0.15
SILENCE_S = 0.6
JITTER_S = 0.3
"""At most this much is added to SILENCE_S, so that two standbys seldom try at once."""


class Heartbeat(msgspec.Struct, frozen=True, rename="camel"):
    """An engine leads in `epoch` and was at `position`; or it has just stopped leading."""

    engine: str
    epoch: int
    position: PositionText
    leading: bool = True


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Heartbeat).decode


@dataclass(slots=True)
class Heartbeats:
    """The heartbeats of a realm, heard and sent. Times are the running loop's, in seconds."""

    bus: Bus
    realm: str
    random: Random
    epoch: int = field(default=0, init=False)
    position: Position = field(default=START, init=False)
    """Where the leader was when it was last heard; START when nobody is known to lead."""
    _leader: str = field(default="", init=False)
    _heard_at: float = field(default=-math.inf, init=False)
    _resigned: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _higher: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _subscription: Subscription | None = field(default=None, init=False)

    async def start(self) -> None:
        """Begin to listen; the wait for a leader begins now."""
        self.wait_again()
        self._subscription = await self.bus.subscribe(names.leader(self.realm), cb=self._on_message)

    async def stop(self) -> None:
        """Listen no more."""
        if self._subscription is not None:
            with contextlib.suppress(nats.errors.Error):
                await self._subscription.unsubscribe()

    @property
    def leader(self) -> str:
        """The engine that was heard to lead a short while ago, or ''."""
        return self._leader if _now() - self._heard_at < SILENCE_S + JITTER_S else ""

    def hear(self, heartbeat: Heartbeat) -> None:
        """Take in a heartbeat. One of an epoch that is over says nothing."""
        if heartbeat.epoch < self.epoch:
            return
        if heartbeat.leading:
            self._note(heartbeat.epoch)
            self._leader, self.position = heartbeat.engine, from_message(heartbeat.position)
        elif heartbeat.engine == self._leader:
            self.wait_again()
            self._heard_at = -math.inf
            self._resigned.set()

    def learn(self, epoch: int) -> None:
        """The log says that somebody took leadership: a heartbeat is to be expected."""
        if epoch > self.epoch:
            self._note(epoch)

    async def silence(self) -> None:
        """Return when no leader has been heard for long enough, or the last one resigned.

        While the bus is cut off nothing can be heard, and that tells nothing.
        """
        jitter_s = self.random.uniform(0, JITTER_S)
        while (left_s := self._heard_at + SILENCE_S + jitter_s - _now()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._resigned.wait()
            if not self.bus.is_connected:
                self.wait_again()

    def wait_again(self) -> None:
        """Let `silence` begin anew; nobody is known to lead."""
        self._leader, self.position = "", START
        self._heard_at = _now()
        self._resigned.clear()

    async def overtaken(self, epoch: int) -> None:
        """Return when an engine is known to lead in an epoch higher than this one."""
        while self.epoch <= epoch:
            self._higher.clear()
            await self._higher.wait()

    async def beat(self, tell: Callable[[], Heartbeat]) -> None:
        """Publish `tell()` at once and then again and again, until cancelled."""
        while True:
            await self.publish(tell())
            await asyncio.sleep(INTERVAL_S)

    async def publish(self, heartbeat: Heartbeat) -> None:
        """Publish one, unless the bus is cut off: an old one that comes later misleads."""
        if self.bus.is_connected:
            try:
                await self.bus.publish(names.leader(self.realm), _encode(heartbeat))
            except nats.errors.Error as error:
                _log.warning("a heartbeat could not be sent: %r", error)

    async def _on_message(self, message: Message) -> None:
        try:
            heartbeat = _decode(message.data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            _log.warning("a heartbeat cannot be read: %s", error)
        else:
            self.hear(heartbeat)

    def _note(self, epoch: int) -> None:
        if epoch > self.epoch:
            self.epoch = epoch
            self._higher.set()
        self.wait_again()


def _now() -> float:
    return asyncio.get_running_loop().time()
