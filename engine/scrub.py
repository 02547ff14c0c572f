"""Scrubbing: the whole log is compared with the second copy, slowly, behind everything else.

An engine begins from a snapshot and reads only what the log has behind it, and the broker does not
say that it has lost or changed what is older (DESIGN section 2, idea 7).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from typing import cast

from ipledger.events.ledger import Ledger
from ipledger.events.log import BrokenLogError, Entry, LogUnavailableError, ReadableLog

_log = logging.getLogger(__name__)

_BATCH = 500
_PAUSE_S = 0.05
"""After so many commits the log is left alone for a while: commits would pay for more haste."""
_RETRY_S = 5.0
_AGAIN_S = 24 * 3600.0


async def scrub(log: ReadableLog, ledger: Ledger) -> None:
    """Compare a log with its ledger, once and then once a day, until cancelled.

    Raises `BrokenLogError` that names the first commit which is missing or other in the log.
    """
    while True:
        after, last = 0, ledger.head.sequence
        while after < last:
            try:
                async for sequence in _compared(log, ledger, after, last):
                    after = sequence
            except LogUnavailableError as error:
                _log.warning("scrubbing behind %d interrupted, going on: %s", after, error)
                await asyncio.sleep(_RETRY_S)
        _log.info("the log agrees with its ledger up to commit %d", last)
        await asyncio.sleep(_AGAIN_S)


async def _compared(log: ReadableLog, ledger: Ledger, after: int, last: int) -> AsyncGenerator[int]:
    """The sequences at which both have the same, up to `last`."""
    stored = cast("AsyncGenerator[Entry]", log.read(after))
    copied = cast("AsyncGenerator[Entry]", ledger.read(after))
    async with contextlib.aclosing(stored), contextlib.aclosing(copied):
        async for own in copied:
            there = await anext(stored, None)
            if there is None or there.sequence != own.sequence:
                raise BrokenLogError(own.sequence, f"missing in the log, but in {ledger.path}")
            if there.payload != own.payload:
                raise BrokenLogError(own.sequence, f"other bytes in the log than in {ledger.path}")
            yield own.sequence
            if own.sequence >= last:
                return
            if own.sequence % _BATCH == 0:
                await asyncio.sleep(_PAUSE_S)
