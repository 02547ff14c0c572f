"""The history of a log in SQLite: rows that questions are answered from, and keyframes.

It is made of the log alone and can be thrown away. The log stays the evidence: a history says
where to look, and events are always read from there.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import aiosqlite

from ipledger.events.chain import EMPTY, Head
from ipledger.events.commit import digest
from ipledger.events.log import ReadableLog
from ipledger.projections import snapshot
from ipledger.projections.fold import Fold
from ipledger.projections.history import Changes
from ipledger.projections.snapshot import Reading
from ipledger.replay.history_schema import INDEXES, SCHEMA, TABLES

_REALM = ""
"""Keyframes are told apart by the hash of their commit; the realm says no more."""
_COMPRESSION = 1


class HistoryError(Exception):
    """The file cannot be used; the message says why and what to do."""


class RewrittenError(Exception):
    """The log is not the one that the history was made of: somebody changed one of them."""


class Checkpoint(NamedTuple):
    """The newest commit that a history has, its time, and how many events there are up to it."""

    head: Head
    time: int
    events: int


NOTHING = Checkpoint(EMPTY, 0, 0)


class Keyframe(NamedTuple):
    """The state behind a commit, written down."""

    sequence: int
    events: int
    image: bytes


def keyframe_of(fold: Fold) -> Keyframe:
    """Write down the state of a fold that stands between two commits."""
    frames = b"".join(snapshot.frames(snapshot.take(fold, _REALM, "")))
    return Keyframe(fold.sequence, fold.state.events_ever, zlib.compress(frames, _COMPRESSION))


@dataclass(slots=True)
class HistoryStore:
    """A history in a file. Whoever writes it holds `replay.history_writer.HistoryWriter`."""

    db: aiosqlite.Connection
    path: Path

    @classmethod
    async def open(cls, path: Path) -> HistoryStore:
        """Open a history, or begin one. Raises `HistoryError`."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            db = await aiosqlite.connect(f"file:{quote(str(path))}", uri=True)
        except (OSError, aiosqlite.Error) as error:
            raise HistoryError(f"history {path}: {error}") from error
        store = cls(db, path)
        try:
            await store._prepare()
        except aiosqlite.Error as error:
            await db.close()
            raise HistoryError(f"history {path}: {error}") from error
        except BaseException:
            await db.close()
            raise
        return store

    async def close(self) -> None:
        """Close the file."""
        await self.db.close()

    async def query(self, sql: str, *values: Any) -> list[Any]:
        """Rows of a query with values, or with one dict of named ones. Raises `HistoryError`."""
        is_named = len(values) == 1 and isinstance(values[0], dict)
        try:
            return list(await self.db.execute_fetchall(sql, values[0] if is_named else values))
        except aiosqlite.Error as error:
            raise HistoryError(f"history {self.path} cannot be read: {error}") from error

    async def checkpoint(self) -> Checkpoint:
        """How far it goes."""
        newest = await self.query(
            "SELECT sequence, hex(hash), time, events FROM commits ORDER BY sequence DESC LIMIT 1"
        )
        for sequence, found, time, events in newest:
            return Checkpoint(Head(sequence, found.lower()), time, events)
        return NOTHING

    async def hash_of(self, sequence: int) -> str:
        """The hash of a commit, '' if the history does not have it."""
        rows = await self.query("SELECT hex(hash) FROM commits WHERE sequence = ?", sequence)
        return str(rows[0][0]).lower() if rows else ""

    async def agree(self, log: ReadableLog, last: int) -> None:
        """Find that this is the history of a log whose last commit is `last`, as far as both go.

        Raises `RewrittenError`, `LogUnavailableError`.
        """
        both = min(last, (await self.checkpoint()).head.sequence)
        if not both:
            return
        entry = await log.get(both)
        found = digest(entry.payload) if entry is not None else "none"
        kept = await self.hash_of(both)
        if found != kept:
            raise RewrittenError(
                f"commit {both} has hash {found} in the log, and had {kept} when {self.path} was "
                "made of it: one of them was changed. Verify the log; delete the file to have it "
                "made anew"
            )

    async def keyframe(self, sequence: int) -> Fold:
        """The newest keyframe that is not behind a commit, or the empty state."""
        rows = await self.query(
            "SELECT sequence, hex(hash), image FROM keyframes JOIN commits USING (sequence)"
            " WHERE sequence <= ? ORDER BY sequence DESC LIMIT 1",
            sequence,
        )
        if not rows:
            return Fold()
        at, found, image = rows[0]
        reading = Reading(_REALM, at, found.lower())
        reading.take(zlib.decompress(image))
        return reading.fold()

    async def write(self, changes: Changes, keyframes: list[Keyframe]) -> None:
        """Write the rows of some commits, which are the checkpoint too, in one transaction.

        Raises `HistoryError`; nothing is written then.
        """
        try:
            await self._write(changes, keyframes)
            await self.db.commit()
        except aiosqlite.Error as error:
            await self.db.rollback()
            raise HistoryError(f"history {self.path} cannot be written: {error}") from error

    async def make_indexes(self) -> None:
        """Make the indexes that are not there."""
        await self.db.executescript(INDEXES)

    async def _write(self, changes: Changes, keyframes: list[Keyframe]) -> None:
        many = self.db.executemany
        await many("INSERT INTO commits VALUES (?, ?, ?, ?)", changes.commits)
        await many("INSERT INTO events VALUES (?, ?, ?)", changes.events)
        await many("INSERT INTO touches VALUES (?, ?, ?)", changes.touches)
        opened = [interval.row() for interval in changes.opened]
        await many(f"INSERT INTO intervals VALUES ({','.join('?' * 14)})", opened)
        close = "UPDATE intervals SET to_position = ?, to_time = ? WHERE id = ?"
        await many(close, changes.closed)
        await many("INSERT INTO keyframes VALUES (?, ?, ?)", keyframes)

    async def _prepare(self) -> None:
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "cache_size = -65536"):
            await self.db.execute(f"PRAGMA {pragma}")
        tables = [name for (name,) in await self.query("SELECT name FROM sqlite_master")]
        if not tables:
            await self.db.executescript(TABLES)
            await self.db.execute("INSERT INTO meta VALUES ('schema', ?)", (str(SCHEMA),))
            await self.db.commit()
        elif "intervals" not in tables or "meta" not in tables:
            raise HistoryError(f"{self.path} is not a history but another database")
        [(schema,)] = await self.query("SELECT value FROM meta WHERE key = 'schema'")
        if schema != str(SCHEMA):
            what = f"has schema {schema}, and this release makes {SCHEMA}"
            raise HistoryError(f"history {self.path} {what}: delete the file, it is made again")
