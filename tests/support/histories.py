"""Histories of logs in memory, and all that they contain."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from ipledger.events.commit import decode
from ipledger.events.log import Entry
from ipledger.events.memory import MemoryLog
from ipledger.events.position import Position
from ipledger.events.types import AnyEvent
from ipledger.replay.history_store import HistoryStore
from ipledger.replay.history_writer import HistoryWriter
from ipledger.replay.past import Past

KEYFRAME_EVENTS = 100
_TABLES = ("meta", "commits", "events", "intervals", "touches", "keyframes")


class Told(MemoryLog):
    """A log of these commits."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        super().__init__()
        self.entries = list(entries)
        self.payloads = [entry.payload for entry in self.entries]

    @property
    def sequence(self) -> int:
        return len(self.payloads)

    @property
    def positions(self) -> list[Position]:
        return [position for position, _ in self.events()]

    def events(self) -> Iterator[tuple[Position, AnyEvent]]:
        for entry in self.entries:
            for index, event in enumerate(decode(entry.payload).events):
                yield Position(entry.sequence, index), event


def told(entries: Iterable[Entry]) -> Told:
    return Told(entries)


@asynccontextmanager
async def build(
    log: Told, path: Path, *, last: int | None = None, follow: bool = False
) -> AsyncGenerator[Past]:
    """The past of a log whose history is in a file, taken in up to a commit."""
    last = log.sequence if last is None else last
    store = await HistoryStore.open(path)
    try:
        writer = HistoryWriter(store, KEYFRAME_EVENTS)
        if follow:
            await writer.begin()
            async for _ in writer.follow(log, _only(log, last)):
                pass
            await store.make_indexes()
        else:
            await writer.catch_up(log, last)
        yield Past(log, store, last)
    finally:
        await store.close()


async def _only(log: Told, last: int) -> AsyncIterator[Entry]:
    for entry in log.entries[:last]:
        yield entry


def content(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table."""
    db = sqlite3.connect(path)
    try:
        return {name: list(db.execute(f"SELECT * FROM {name}")) for name in _TABLES}
    finally:
        db.close()
