"""The snapshot store port: where a realm's snapshots are kept, whoever keeps them.

Two implementations, held to one contract test (tests/contract/test_snapshot_store.py):
`object_store` and `MemorySnapshots`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol


class SnapshotsUnavailableError(Exception):
    """The store could not be asked just now."""


class SnapshotStore(Protocol):
    """A realm's snapshots by the sequence of the commit they were taken behind.

    All methods raise `SnapshotsUnavailableError`.
    """

    async def put(self, sequence: int, parts: AsyncIterator[bytes]) -> None:
        """Keep a snapshot. Until the last part has come there is none of that sequence."""
        ...

    async def sequences(self) -> list[int]:
        """The snapshots there are, the newest first."""
        ...

    def get(self, sequence: int) -> AsyncIterator[bytes]:
        """The bytes of a snapshot, cut anywhere. Ends early if some are lost."""
        ...

    async def keep(self, count: int) -> None:
        """Delete all but the newest ones."""
        ...


class MemorySnapshots:
    """A `SnapshotStore` that lasts as long as the object."""

    def __init__(self) -> None:
        self.kept: dict[int, bytes] = {}

    async def put(self, sequence: int, parts: AsyncIterator[bytes]) -> None:
        """See `SnapshotStore.put`."""
        self.kept[sequence] = b"".join([part async for part in parts])

    async def sequences(self) -> list[int]:
        """See `SnapshotStore.sequences`."""
        return sorted(self.kept, reverse=True)

    async def get(self, sequence: int) -> AsyncIterator[bytes]:
        """See `SnapshotStore.get`."""
        if sequence in self.kept:
            yield self.kept[sequence]

    async def keep(self, count: int) -> None:
        """See `SnapshotStore.keep`."""
        for sequence in (await self.sequences())[count:]:
            del self.kept[sequence]
