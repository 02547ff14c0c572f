"""The ledger: a copy of a log's commits, byte for byte, in one SQLite file.

It is the second copy of DESIGN section 2, idea 7. Each engine keeps one beside its data; a lost or
damaged stream is restored from it, and an auditor can verify it without a server.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiosqlite

from ipledger.events.chain import EMPTY, Head, link
from ipledger.events.commit import digest
from ipledger.events.log import Entry
from ipledger.events.quoting import cut

SCHEMA = 1
"""Raised whenever an older release could not use the file any more."""

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS commits (
    sequence INTEGER PRIMARY KEY,
    payload  BLOB NOT NULL,
    hash     TEXT NOT NULL
);
"""
_PAGE_BYTES = 16384  # a commit under load is 20 to 50 KB
_READ_ROWS = 256
_INSERT = "INSERT INTO commits (sequence, payload, hash) VALUES (?, ?, ?)"
_PAYLOAD = "coalesce(CAST(payload AS BLOB), x'')"
_SELECT = (  # the casts: whoever changed the file may have left text, or nothing
    f"SELECT CAST(sequence AS INTEGER), {_PAYLOAD} FROM commits"
    " WHERE sequence BETWEEN ? AND ? ORDER BY sequence LIMIT ?"
)


_UNREADABLE = (aiosqlite.Error, UnicodeDecodeError, OverflowError)
"""The others are sqlite3's: where SQLite's own message quotes what is not UTF-8, and where a
number of the file has no successor."""


class LedgerError(Exception):
    """The file cannot be used as a ledger; the message says why and what to do."""

    def __init__(self, what: str) -> None:
        super().__init__(cut(what))


@dataclass(slots=True)
class Ledger:
    """A `ReadableLog` in a file. `head` is its newest commit; only `append` moves it."""

    db: aiosqlite.Connection
    path: Path
    realm: str
    head: Head = EMPTY
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    @classmethod
    async def open(cls, path: Path, realm: str) -> Ledger:
        """Open a realm's ledger to append to it, or make it. Raises `LedgerError`."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerError(f"ledger {path}: {error.strerror}") from error
        return await _opened(path, realm, write=True)

    @classmethod
    async def reading(cls, path: Path, realm: str = "") -> Ledger:
        """Open a ledger that exists, to read it. Raises `LedgerError`.

        Without a realm, that of any realm is read.
        """
        return await _opened(path, realm, write=False)

    async def close(self) -> None:
        """Close the file."""
        await self.db.close()

    async def append(self, entries: Sequence[Entry]) -> None:
        """Keep the commits that come next, all or none.

        Raises `BrokenLogError` if one does not continue the chain, `LedgerError` if somebody else
        writes the file, and `aiosqlite.OperationalError` if it cannot be written now.
        """
        async with self._writing:
            heads = [self.head]
            for entry in entries:
                heads.append(link(heads[-1], entry))
            await self._insert(zip(entries, heads[1:], strict=True))
            self.head = heads[-1]

    async def store(self, entries: Sequence[Entry]) -> None:
        """Keep whatever can be read of a log that is not whole; nothing is checked."""
        await self._insert(
            (entry, Head(entry.sequence, digest(entry.payload))) for entry in entries
        )

    async def _insert(self, commits: Iterable[tuple[Entry, Head]]) -> None:
        rows = [(entry.sequence, entry.payload, head.hash) for entry, head in commits]
        try:
            await self.db.executemany(_INSERT, rows)
            await self.db.commit()
        except aiosqlite.IntegrityError as error:
            raise LedgerError(f"ledger {self.path}: another process writes it ({error})") from error
        finally:
            if self.db.in_transaction:
                await self.db.rollback()

    async def sync(self) -> None:
        """Make everything that was appended durable. Raises `aiosqlite.OperationalError`."""
        await self.db.execute("PRAGMA wal_checkpoint(FULL)")

    async def last(self) -> int:
        """See `ReadableLog.last`. Raises `LedgerError`."""
        return (
            await _query(self.db, self.path, "SELECT CAST(max(sequence) AS INTEGER) FROM commits")
        )[0][0] or 0

    async def get(self, sequence: int) -> Entry | None:
        """See `ReadableLog.get`. Raises `LedgerError`."""
        found = await _query(self.db, self.path, _SELECT, sequence, sequence, 1)
        return Entry(*found[0]) if found else None

    async def read(self, after: int) -> AsyncIterator[Entry]:
        """See `ReadableLog.read`. Raises `LedgerError`."""
        last = await self.last()
        while rows := await _query(self.db, self.path, _SELECT, after + 1, last, _READ_ROWS):
            for row in rows:
                entry = Entry(*row)
                if entry.sequence <= after:
                    what = f"commit {entry.sequence} stands behind {after}"
                    raise LedgerError(f"ledger {self.path} is damaged: {what}")
                after = entry.sequence
                yield entry


async def _opened(path: Path, realm: str, *, write: bool) -> Ledger:
    uri = f"file:{quote(str(path))}?mode={'rwc' if write else 'ro'}"
    if not write:
        _must_exist(path)
    try:
        db = await aiosqlite.connect(uri, uri=True)
    except aiosqlite.Error as error:
        raise LedgerError(f"ledger {path}: {error}") from error
    try:
        if write:
            await _make_tables(db, path, realm)
        held = await _check_meta(db, path, realm)
        return Ledger(db, path, held, await _head(db, path))
    except _UNREADABLE as error:
        await db.close()
        raise LedgerError(f"ledger {path}: {error}") from error
    except BaseException:
        await db.close()
        raise


def _must_exist(path: Path) -> None:
    if not path.is_file():
        raise LedgerError(f"ledger {path}: no such file")


async def _make_tables(db: aiosqlite.Connection, path: Path, realm: str) -> None:
    tables = [name for (name,) in await _query(db, path, "SELECT name FROM sqlite_master")]
    if tables and "commits" not in tables:
        raise LedgerError(f"{path} is not a ledger but another database")
    await db.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    await db.execute("PRAGMA journal_mode = WAL")
    await db.execute("PRAGMA synchronous = NORMAL")  # what a power failure takes is in the stream
    await db.executescript(_TABLES)
    facts = [("realm", realm), ("schema", str(SCHEMA))]
    await db.executemany("INSERT OR IGNORE INTO meta (key, value) VALUES (?, ?)", facts)
    await db.commit()


async def _check_meta(db: aiosqlite.Connection, path: Path, realm: str) -> str:
    """The realm whose ledger this is."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table'"  # a view might never end
    tables = [name for (name,) in await _query(db, path, query)]
    if "meta" not in tables or "commits" not in tables:
        raise LedgerError(f"{path} is not a ledger")
    meta: dict[str, str] = dict(await _query(db, path, "SELECT key, value FROM meta"))
    schema, held = meta.get("schema", ""), meta.get("realm", "")
    if schema != str(SCHEMA):
        what = f"has schema {schema!r}, this release reads {SCHEMA}"
        raise LedgerError(f"ledger {path} {what}: use the release that wrote it, or a newer one")
    if realm and realm != held:
        raise LedgerError(f"ledger {path} is of realm {held!r}, not of {realm!r}")
    return held


async def _head(db: aiosqlite.Connection, path: Path) -> Head:
    columns = f"CAST(sequence AS INTEGER), {_PAYLOAD}, hash"
    query = f"SELECT {columns} FROM commits ORDER BY sequence DESC LIMIT 1"
    for sequence, payload, known in await _query(db, path, query):
        if digest(payload) != known:
            what = f"commit {sequence} was changed: its hash is {digest(payload)}, not {known}"
            raise LedgerError(f"ledger {path} is damaged: {what}")
        return Head(sequence, known)
    return EMPTY


async def _query(db: aiosqlite.Connection, path: Path, query: str, *values: int) -> list[Any]:
    try:
        return list(await db.execute_fetchall(query, values))
    except _UNREADABLE as error:
        raise LedgerError(f"ledger {path} cannot be read: {error}") from error
