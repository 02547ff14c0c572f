"""Keeping a history up to date while its log grows, and telling how far it is behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from ipledger.engine.metrics import table
from ipledger.events import tracing
from ipledger.events.log import Entry, FollowedLog, LogUnavailableError
from ipledger.replay.history_store import HistoryStore
from ipledger.replay.history_writer import HistoryWriter, lock

_LOOK_S = 1.0


class Metrics:
    """How far a history is, for Prometheus."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.sequence = table.HISTORY_SEQUENCE.gauge(self.registry)
        self.lag_commits = table.HISTORY_LAG.gauge(self.registry)
        self.lag_seconds = table.HISTORY_LAG_SECONDS.gauge(self.registry)


@dataclass(slots=True)
class Follower:
    """Takes each commit of a log into a history as it comes. `clock` is in microseconds (Unix)."""

    log: FollowedLog
    store: HistoryStore
    clock: Callable[[], int]
    metrics: Metrics = field(default_factory=Metrics)
    caught_up: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Follow until cancelled; nobody else writes the history meanwhile.

        Raises `BrokenLogError`, `RewrittenError`, `HistoryError`.
        """
        async with lock(self.store.path):
            last = await self.log.last()
            await self.store.agree(self.log, last)
            writer = HistoryWriter(self.store)
            await writer.catch_up(self.log, last)
            self.caught_up.set()
            looking = asyncio.create_task(self._look(writer))
            try:
                async for _ in writer.follow(
                    self.log, _traced(self.log.follow(writer.head.sequence))
                ):
                    self.metrics.lag_seconds.set(max(0, self.clock() - writer.time) / 1e6)
                    self.metrics.sequence.set(writer.head.sequence)
            finally:
                looking.cancel()
                await asyncio.wait((looking,))

    async def _look(self, writer: HistoryWriter) -> None:
        """Compare with the log every so often: a history that stands still must be seen."""
        while True:
            self.metrics.sequence.set(writer.head.sequence)
            try:
                last = await self.log.last()
            except LogUnavailableError:
                pass
            else:
                self.metrics.lag_commits.set(max(0, last - writer.head.sequence))
            await asyncio.sleep(_LOOK_S)


async def _traced(entries: AsyncIterator[Entry]) -> AsyncIterator[Entry]:
    """The entries, each with a span until the next one is asked for: by then it is written."""
    async for entry in entries:
        with tracing.begin_consuming("history.write", entry.sequence, entry.traceparent):
            yield entry
