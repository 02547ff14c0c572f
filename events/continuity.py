"""Whether the log that is there is still the one that was read: it may have lost its end."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from ipledger.events.log import (
    BrokenLogError,
    Entry,
    LogUnavailableError,
    NoLogError,
    ReadableLog,
)

_log = logging.getLogger(__name__)

_LOOKS = 3
_LOOK_DELAY_S = 0.5
"""How often a loss is looked at before it is believed: a new leader may not have caught up yet."""


@dataclass(frozen=True, slots=True)
class Continuity:
    """Looks at a log for whoever follows it."""

    log: ReadableLog

    async def recognise(self, after: int, newest: Entry | None) -> None:
        """Make sure that the log which is there now is the one that was followed up to `after`.

        Raises `BrokenLogError`.
        """
        try:
            await self.check_goes_on(after)
            if newest is not None:
                stored = await self.log.get(after)
                if stored is None or stored.payload != newest.payload:
                    raise BrokenLogError(after, "it has other bytes than when it was read before")
        except LogUnavailableError as error:
            _log.warning("the log cannot be looked at yet: %s", error)

    async def check_goes_on(self, after: int) -> None:
        """Raise `BrokenLogError` if the log lost what is at or next to `after`."""
        loss = await self._loss(after)
        for _ in range(_LOOKS - 1):
            if loss is None:
                return
            await asyncio.sleep(_LOOK_DELAY_S)
            loss = await self._loss(after)
        if loss is not None:
            raise loss

    async def _loss(self, after: int) -> BrokenLogError | None:
        try:
            last = await self.log.last()
        except NoLogError as error:
            return BrokenLogError(after, f"missing: {error}") if after else None
        if last < after:
            return BrokenLogError(last + 1, f"missing: the log ends at {last} now, not at {after}")
        if last > after and await self.log.get(after + 1) is None:
            return BrokenLogError(after + 1, f"missing in the log, which goes to {last}")
        return None
