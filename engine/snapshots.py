"""Snapshots: where they are kept, how one is taken, and how a fold begins from the newest good one.

A snapshot only saves time: whatever is wrong with one, the log is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator, Generator
from typing import Protocol

from ipledger import __version__
from ipledger.events import commit
from ipledger.events.log import Log, LogUnavailableError
from ipledger.projections import snapshot
from ipledger.projections.fold import Fold
from ipledger.projections.snapshot import BadSnapshotError, Reading, Snapshot

_log = logging.getLogger(__name__)

KEPT = 3
"""How many snapshots are kept, the newest ones."""


class SnapshotsUnavailableError(Exception):
    """The store could not be asked just now."""


class SnapshotStore(Protocol):
    """A realm's snapshots by the sequence of the commit they were taken behind.

    Two implementations, held to one contract test (tests/contract/test_snapshots.py):
    `object_store` and `MemorySnapshots`. All methods raise `SnapshotsUnavailableError`.
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


async def load(log: Log, snapshots: SnapshotStore | None = None, realm: str = "") -> Fold:
    """Fold a log to its end, from the newest good snapshot if there is one.

    Raises `BrokenLogError`, `LogUnavailableError`.
    """
    with _collecting_later():
        fold = Fold() if snapshots is None else await _newest_good(log, snapshots, realm)
        async for entry in log.read(fold.sequence):
            fold.apply(entry)
    return fold


async def store(snapshots: SnapshotStore, taken: Snapshot) -> None:
    """Write a snapshot, letting others run after each part, and delete the oldest ones."""
    await snapshots.put(taken.head.sequence, _paced(taken))
    await snapshots.keep(KEPT)
    _log.info("snapshot of realm %s at commit %d", taken.head.realm, taken.head.sequence)


def take(fold: Fold, realm: str) -> Snapshot:
    """Freeze a fold between two commits, to be stored: milliseconds, whatever it holds."""
    return snapshot.take(fold, realm, __version__)


async def _paced(taken: Snapshot) -> AsyncIterator[bytes]:
    for frame in snapshot.frames(taken):
        yield frame
        await asyncio.sleep(0)


async def _newest_good(log: Log, snapshots: SnapshotStore, realm: str) -> Fold:
    try:
        sequences = await snapshots.sequences()
    except SnapshotsUnavailableError as error:
        _log.error("snapshots of realm %s cannot be read, folding the whole log: %s", realm, error)
        return Fold()
    for sequence in sequences:
        try:
            fold = await _restore(log, snapshots, realm, sequence)
        except LogUnavailableError:
            raise
        except Exception as error:  # it may be anything, and so may what reading it raises
            _log.error("snapshot at commit %d of realm %s skipped: %s", sequence, realm, error)
        else:
            _log.info("realm %s begins from the snapshot at commit %d", realm, sequence)
            return fold
    return Fold()


async def _restore(log: Log, snapshots: SnapshotStore, realm: str, sequence: int) -> Fold:
    """The fold of a snapshot and what the log has behind it, if log and snapshot agree."""
    entries = log.read(sequence - 1)
    own = await anext(entries, None)
    if own is None:
        raise BadSnapshotError("the log ends before it")
    reading = Reading(realm, own.sequence, commit.digest(own.payload))
    async for part in snapshots.get(sequence):
        reading.take(part)
    fold = reading.fold()
    async for entry in entries:
        fold.apply(entry)
    return fold


@contextlib.contextmanager
def _collecting_later() -> Generator[None]:
    """Hold garbage collection off, and let it leave alone for good what was loaded."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
        gc.freeze()
