"""The outbox: releases that the engine could not take yet, kept on disk until it does.

A DEL must not wait for the control plane, or a dead one would pin terminating pods; the address
stays taken until the release arrives. The release is conditional on its sandbox, so a late one
frees nothing that has gone on to another sandbox.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path

import aiosqlite

from ipledger.engine.client import EngineClient, EngineUnavailableError, RefusedError
from ipledger.engine.commands import Release

_log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS releases (
    id          INTEGER PRIMARY KEY,
    sandbox     TEXT NOT NULL,
    interface   TEXT NOT NULL,
    traceparent TEXT NOT NULL,
    UNIQUE (sandbox, interface)
)
"""
_ATTEMPT_TIMEOUT_S = 30.0
_RETRY_S = 1.0


@dataclass(slots=True)
class Outbox:
    """Stored releases of one node. `node` is not stored: it is the agent's own."""

    db: aiosqlite.Connection
    node: str
    _stored: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    @classmethod
    async def open(cls, path: Path, node: str) -> Outbox:
        """Open or make the database file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        db = await aiosqlite.connect(path)
        await db.execute("PRAGMA journal_mode = WAL")
        await db.execute("PRAGMA synchronous = FULL")
        await db.execute(_SCHEMA)
        await db.commit()
        return cls(db, node)

    async def close(self) -> None:
        """Close the database."""
        await self.db.close()

    async def put(self, release: Release) -> None:
        """Keep a release; it is durable on return. Raises `aiosqlite.Error`."""
        await self.db.execute(
            "INSERT OR IGNORE INTO releases (sandbox, interface, traceparent) VALUES (?, ?, ?)",
            (release.sandbox, release.interface, release.traceparent),
        )
        await self.db.commit()
        self._stored.set()

    async def pending(self) -> list[tuple[int, Release]]:
        """The releases still to be sent, oldest first, with their row ids."""
        query = "SELECT id, sandbox, interface, traceparent FROM releases ORDER BY id"
        async with self.db.execute(query) as rows:
            return [
                (
                    row[0],
                    Release(sandbox=row[1], interface=row[2], node=self.node, traceparent=row[3]),
                )
                async for row in rows
            ]

    async def send(self, client: EngineClient) -> None:
        """Send what is stored, now and whenever something new is. Runs until cancelled."""
        while True:
            self._stored.clear()
            try:
                for row_id, release in await self.pending():
                    await self._send_one(client, row_id, release)
            except aiosqlite.Error as error:  # a full disk, say; sent twice, a release is harmless
                _log.warning("the outbox cannot be worked off, trying again: %s", error)
                await asyncio.sleep(_RETRY_S)
            else:
                await self._stored.wait()

    async def _send_one(self, client: EngineClient, row_id: int, release: Release) -> None:
        while True:
            try:
                await client.release(release, _ATTEMPT_TIMEOUT_S)
                break
            except EngineUnavailableError as error:
                _log.warning("release of sandbox %s still waits: %s", release.sandbox, error)
            except RefusedError as error:
                _log.error("release of sandbox %s dropped: %s", release.sandbox, error)
                break
        await self.db.execute("DELETE FROM releases WHERE id = ?", (row_id,))
        await self.db.commit()
