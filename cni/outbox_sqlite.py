"""The outbox's store on disk: one SQLite file."""

from __future__ import annotations

import contextlib
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
                "INSERT OR IGNORE INTO releases (sandbox, interface, traceparent) VALUES (?, ?, ?)",
                (release.sandbox, release.interface, release.traceparent),
            )
            await self.db.commit()

    async def pending(self) -> list[Stored]:
        """See `OutboxStore.pending`."""
        query = "SELECT id, sandbox, interface, traceparent FROM releases ORDER BY id"
        with _store_errors():
            async with self.db.execute(query) as rows:
                return [
                    Stored(row[0], Release(sandbox=row[1], interface=row[2], traceparent=row[3]))
                    async for row in rows
                ]

    async def delete(self, stored_id: int) -> None:
        """See `OutboxStore.delete`."""
        with _store_errors():
            await self.db.execute("DELETE FROM releases WHERE id = ?", (stored_id,))
            await self.db.commit()


@contextlib.contextmanager
def _store_errors() -> Generator[None]:
    try:
        yield
    except aiosqlite.Error as error:
        raise StoreError(str(error)) from error
