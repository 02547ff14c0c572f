"""The outbox's store in memory: the twin of SQLite (tests/contract/test_outbox_store.py)."""

from __future__ import annotations

import msgspec

from ipledger.cni.outbox import Stored
from ipledger.engine.commands import Release


class MemoryStore:
    """An `OutboxStore` that lasts as long as the object, which may outlive its agent."""

    def __init__(self) -> None:
        self._kept: dict[int, Release] = {}
        self._last_id = 0

    async def put(self, release: Release) -> None:
        """See `OutboxStore.put`."""
        attachment = (release.sandbox, release.interface)
        if attachment not in [(kept.sandbox, kept.interface) for kept in self._kept.values()]:
            self._last_id += 1
            kept = msgspec.structs.replace(release, node="", fence=True)
            self._kept[self._last_id] = kept

    async def pending(self) -> list[Stored]:
        """See `OutboxStore.pending`."""
        return [Stored(stored_id, release) for stored_id, release in self._kept.items()]

    async def count(self) -> int:
        """See `OutboxStore.count`."""
        return len(self._kept)

    async def delete(self, stored_id: int) -> None:
        """See `OutboxStore.delete`."""
        self._kept.pop(stored_id, None)
