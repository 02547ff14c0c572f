"""The outbox's store on disk: one SQLite file."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import aiosqlite

from ipledger.cni.outbox import Stored, StoreError
from ipledger.engine.commands import Release

_SCHEMA = """
CREATE TABLE IF NOT EXISTS releases (
    id          INTEGER PRIMARY KEY,
    sandbox     TEXT NOT NULL,
    interface   TEXT NOT NULL,
    traceparent TEXT NOT NULL,
    ended_pod   TEXT NOT NULL DEFAULT '',
    UNIQUE (sandbox, interface)
)
"""


@dataclass(slots=True)
class SqliteStore:
    """See `OutboxStore`. Each write is synced to disk before it returns."""

    db: aiosqlite.Connection

    @classmethod
    async def open(cls, path: Path) -> SqliteStore:
        """Open or make the database file. Raises `OSError`, `StoreError`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with _store_errors():
            db = await aiosqlite.connect(path)
            try:
                await db.execute("PRAGMA journal_mode = WAL")
                await db.execute("PRAGMA synchronous = FULL")
                await db.execute(_SCHEMA)
                await _add_column(db)
                await db.commit()
            except BaseException:
                await db.close()  # its thread would keep the process alive
                raise
            return cls(db)

    async def close(self) -> None:
        """Close the database."""
        await self.db.close()

    async def put(self, release: Release) -> None:
        """See `OutboxStore.put`."""
        with _store_errors():
            await self.db.execute(
                "INSERT OR IGNORE INTO releases (sandbox, interface, traceparent, ended_pod) "
                "VALUES (?, ?, ?, ?)",
                (release.sandbox, release.interface, release.traceparent, release.ended_pod),
            )
            await self.db.commit()

    async def pending(self) -> list[Stored]:
        """See `OutboxStore.pending`."""
        query = "SELECT id, sandbox, interface, traceparent, ended_pod FROM releases ORDER BY id"
        with _store_errors():
            async with self.db.execute(query) as rows:
                return [Stored(row[0], _release(row)) async for row in rows]

    async def count(self) -> int:
        """See `OutboxStore.count`."""
        with _store_errors():
            [(count,)] = await self.db.execute_fetchall("SELECT count(*) FROM releases")
            return int(count)

    async def delete(self, stored_id: int) -> None:
        """See `OutboxStore.delete`."""
        with _store_errors():
            await self.db.execute("DELETE FROM releases WHERE id = ?", (stored_id,))
            await self.db.commit()


async def _add_column(db: aiosqlite.Connection) -> None:
    """A file that an earlier build made has no `ended_pod`."""
    async with db.execute("PRAGMA table_info(releases)") as rows:
        names = [row[1] async for row in rows]
    if "ended_pod" not in names:
        await db.execute("ALTER TABLE releases ADD COLUMN ended_pod TEXT NOT NULL DEFAULT ''")


def _release(row: sqlite3.Row) -> Release:
    _, sandbox, interface, traceparent, ended_pod = row
    return Release(
        sandbox=sandbox, interface=interface, traceparent=traceparent, ended_pod=ended_pod
    )


@contextlib.contextmanager
def _store_errors() -> Generator[None]:
    try:
        yield
    except aiosqlite.Error as error:
        raise StoreError(str(error)) from error
