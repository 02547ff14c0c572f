"""A replica: the log folded so far, which goes on with the log."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import cast

from ipledger.events import tracing
from ipledger.events.log import BrokenLogError, Entry, FollowedLog
from ipledger.events.position import Position
from ipledger.projections.fold import Fold
from ipledger.projections.state import State


class Replica:
    """A fold of `log`, and `on_commit`, which is given the state behind each commit folded.

    It begins from `fold`, or with nothing.
    """

    def __init__(
        self, log: FollowedLog, on_commit: Callable[[State], None], fold: Fold | None = None
    ) -> None:
        self.fold = Fold() if fold is None else fold
        self._log = log
        self._on_commit = on_commit
        self._moved = asyncio.Event()

    @property
    def position(self) -> Position:
        """What the fold is true at."""
        return self.fold.state.position

    @property
    def is_speculative(self) -> bool:
        """Whether the state has events that were not seen to be durable: it is good no more."""
        return self.position.sequence > self.fold.sequence

    async def catch_up(self) -> None:
        """Fold up to the end of the log. Raises `BrokenLogError`, `LogUnavailableError`."""
        last = await self._log.last()
        if last < self.fold.sequence:
            what = f"missing: the log ends at {last}, but commit {self.fold.sequence} was folded"
            raise BrokenLogError(last + 1, what)
        if last > self.fold.sequence:
            async for entry in self._log.read(self.fold.sequence):
                self._apply(entry)

    async def follow(self) -> None:
        """Fold each commit as it comes, until cancelled. Raises `BrokenLogError`."""
        entries = cast("AsyncGenerator[Entry]", self._log.follow(self.fold.sequence))
        async with contextlib.aclosing(entries):
            async for entry in entries:
                with tracing.begin_consuming("log.fold", entry.sequence, entry.traceparent):
                    self._apply(entry)

    async def reached(self, position: Position, within_s: float) -> None:
        """Return when the fold is at a position or newer, or the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self.position < position:
                    await self._moved.wait()

    def _apply(self, entry: Entry) -> None:
        self.fold.apply(entry)
        self._on_commit(self.fold.state)
        self._moved.set()
        self._moved = asyncio.Event()
