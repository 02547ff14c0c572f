"""The second copy: a ledger that follows the stream (DESIGN section 2, idea 7).

It follows what the broker stored, not what this engine sent, so that a commit that was lost or
changed is found: the copy then refuses to go on, and the engine beside it stops serving. Commits
never wait for it; a copy that was away or had no room catches up by itself.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

import aiosqlite
from nats.aio.client import Client as NatsClient

from ipledger.engine.scrub import scrub
from ipledger.events.chain import EMPTY
from ipledger.events.commit import digest
from ipledger.events.jetstream import JetStreamLog
from ipledger.events.ledger import Ledger
from ipledger.events.log import BrokenLogError, Entry, Log, NoLogError, ReadableLog
from ipledger.events.tasks import first_to_end

_log = logging.getLogger(__name__)

_WAITING_MAX = 512
"""Commits read from the stream that may wait to be written."""
_PAUSE_S = 0.05
"""How long the stream is left alone between looks; commits would pay for more haste."""
_RETRY_S = 1.0
_LOOKS = 3
_LOOK_DELAY_S = 0.5
"""How often a loss is looked at before it is believed: a new leader may not have caught up yet."""


@dataclass(slots=True)
class SecondCopy:
    """Keeps a ledger of a log. Raises `BrokenLogError` where the log is not what it was."""

    ledger: Ledger
    _agrees: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def check(self, log: ReadableLog) -> None:
        """Compare the ledger's newest commit with the log: nobody leads before this.

        Raises `BrokenLogError`, `LogUnavailableError`.
        """
        broken = await self._difference(log)
        for _ in range(_LOOKS - 1):
            if broken is None:
                break
            await asyncio.sleep(_LOOK_DELAY_S)
            broken = await self._difference(log)
        if broken is not None:
            raise broken
        self._agrees.set()

    async def run(self, log: Log) -> None:
        """Follow the log, once it was checked, until cancelled.

        Raises `BrokenLogError`, `LedgerError`.
        """
        await self._agrees.wait()
        arrived: asyncio.Queue[Entry] = asyncio.Queue(_WAITING_MAX)
        scrubbing = scrub(log, self.ledger)
        await first_to_end(self._fetch(log, arrived), self._keep(arrived), scrubbing)

    async def _difference(self, log: ReadableLog) -> BrokenLogError | None:
        head = self.ledger.head
        if head.sequence == 0:
            return None
        has = f"but ledger {self.ledger.path} has commits up to {head.sequence}"
        try:
            last = await log.last()
        except NoLogError as error:
            return BrokenLogError(1, f"missing: {error}, {has}")
        if last < head.sequence:
            return BrokenLogError(last + 1, f"missing: the log ends at {last}, {has}")
        entry = await log.get(head.sequence)
        if entry is None:
            return BrokenLogError(head.sequence, f"missing in the log, {has}")
        if digest(entry.payload) != head.hash:
            what = f"its hash is {digest(entry.payload)} in the log and {head.hash} in the ledger"
            return BrokenLogError(head.sequence, what)
        return None

    async def _fetch(self, log: Log, arrived: asyncio.Queue[Entry]) -> None:
        async for entry in log.follow(self.ledger.head.sequence, pause_s=_PAUSE_S):
            await arrived.put(entry)

    async def _keep(self, arrived: asyncio.Queue[Entry]) -> None:
        """Write what has arrived, all of it in one transaction."""
        while True:
            entries = [await arrived.get()]
            while not arrived.empty():
                entries.append(arrived.get_nowait())
            await self._append(entries)

    async def _append(self, entries: list[Entry]) -> None:
        while True:
            try:
                return await self.ledger.append(entries)
            except aiosqlite.OperationalError as error:  # a full disk, say
                _log.warning("ledger %s cannot be written: %s", self.ledger.path, error)
                await asyncio.sleep(_RETRY_S)


async def open_stream(nc: NatsClient, ledger: Ledger, replicas: int) -> JetStreamLog:
    """Reach the stream of the ledger's realm, making it with `replicas` for a realm that is new.

    A stream that is gone is never made anew: what is in the ledger was acknowledged. Raises
    `BrokenLogError`, `LogUnavailableError`.
    """
    if ledger.head == EMPTY:
        return await JetStreamLog.create(nc, ledger.realm, replicas)
    await SecondCopy(ledger).check(JetStreamLog.of(nc, ledger.realm))
    return await JetStreamLog.create(nc, ledger.realm, replicas)
