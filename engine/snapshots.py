"""Snapshots: a fold begins from the newest good one, and an engine takes one every so often.

A snapshot only saves time: whatever is wrong with one, the log is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field

from ipledger import __version__
from ipledger.engine.commit_loop import CommitLoop
from ipledger.engine.snapshot_store import SnapshotStore, SnapshotsUnavailableError
from ipledger.events import commit
from ipledger.events.garbage import collect_rarely, collecting_later
from ipledger.events.log import FollowedLog, LogUnavailableError
from ipledger.projections import snapshot
from ipledger.projections.fold import Fold
from ipledger.projections.snapshot import BadSnapshotError, Reading, Snapshot

_log = logging.getLogger(__name__)

KEPT = 3
"""How many snapshots are kept, the newest ones."""

_REST = 3.0
"""A snapshot that is written while the engine serves rests this many times as long as it works."""


@dataclass(slots=True)
class Outcomes:
    """How snapshots of this process went; `newest` is the commit of the last one known."""

    saved: int = 0
    failed: int = 0
    newest: int = 0


@dataclass(frozen=True, slots=True)
class Snapshots:
    """A realm's snapshots: where they are kept, and how often one is taken.

    Every `check_s` seconds one is taken if `events` or more came since the last one, so that a
    start folds a second's worth, and a busy realm spends little time on them.
    """

    store: SnapshotStore
    realm: str
    events: int = 100_000
    check_s: float = 10.0
    outcomes: Outcomes = field(default_factory=Outcomes)

    @contextlib.asynccontextmanager
    async def taking(self, loop: CommitLoop, fold: Fold) -> AsyncGenerator[None]:
        """Take snapshots of a term's fold while it serves, and one when it has ended well."""
        taken = _Taken(fold.restored_events)
        task = asyncio.create_task(self._take_again(loop, taken))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait((task,))
        if fold.state.events_ever > taken.events + 1:  # more than that somebody took the lead
            await self._save(self.take(fold), rest=0)

    def take(self, fold: Fold) -> Snapshot:
        """Freeze a fold between two commits, to be saved. This is what others wait for."""
        return snapshot.take(fold, self.realm, __version__)

    async def save(self, taken: Snapshot, *, rest: float = _REST) -> None:
        """Write a snapshot, letting others run in between, and delete the oldest ones.

        Raises `SnapshotsUnavailableError`.
        """
        await self.store.put(taken.head.sequence, _paced(taken, rest))
        await self.store.keep(KEPT)
        self.outcomes.saved += 1
        self.outcomes.newest = taken.head.sequence
        _log.info("snapshot of realm %s at commit %d", self.realm, taken.head.sequence)

    async def _take_again(self, loop: CommitLoop, last: _Taken) -> None:
        while True:
            await asyncio.sleep(self.check_s)
            taken = await loop.between_commits(lambda fold: self._due(fold, last))
            if taken is not None:
                await self._save(taken)

    def _due(self, fold: Fold, last: _Taken) -> Snapshot | None:
        if fold.state.events_ever - last.events < self.events:
            return None
        last.events = fold.state.events_ever
        return self.take(fold)

    async def _save(self, taken: Snapshot, *, rest: float = _REST) -> None:
        """Save what would be good to have: whatever goes wrong, the engine serves on."""
        try:
            await self.save(taken, rest=rest)
        except Exception as error:
            self.outcomes.failed += 1
            _log.error("no snapshot of realm %s: %r", self.realm, error)


@dataclass(slots=True)
class _Taken:
    """How many events the last snapshot has."""

    events: int


async def _paced(taken: Snapshot, rest: float) -> AsyncIterator[bytes]:
    started = time.perf_counter()  # finer than the loop's own clock
    for frame in snapshot.frames(taken):
        await asyncio.sleep((time.perf_counter() - started) * rest)
        yield frame
        started = time.perf_counter()


async def load(log: FollowedLog, snapshots: Snapshots | None = None) -> Fold:
    """Fold a log to its end, from the newest good snapshot if there is one.

    Raises `BrokenLogError`, `LogUnavailableError`.
    """
    with collecting_later():
        fold = Fold() if snapshots is None else await _newest_good(log, snapshots)
        async for entry in log.read(fold.sequence):
            fold.apply(entry)
    collect_rarely()
    return fold


async def _newest_good(log: FollowedLog, snapshots: Snapshots) -> Fold:
    realm = snapshots.realm
    try:
        sequences = await snapshots.store.sequences()
    except SnapshotsUnavailableError as error:
        _log.error("snapshots of realm %s cannot be read, folding the whole log: %s", realm, error)
        return Fold()
    for sequence in sequences:
        try:
            fold = await _restore(log, snapshots, sequence)
        except LogUnavailableError:
            raise
        except Exception as error:  # it may be anything, and so may what reading it raises
            _log.error("snapshot at commit %d of realm %s skipped: %s", sequence, realm, error)
        else:
            snapshots.outcomes.newest = sequence
            _log.info("realm %s begins from the snapshot at commit %d", realm, sequence)
            return fold
    return Fold()


async def _restore(log: FollowedLog, snapshots: Snapshots, sequence: int) -> Fold:
    """The fold of a snapshot and what the log has behind it, if log and snapshot agree."""
    entries = log.read(sequence - 1)
    own = await anext(entries, None)
    if own is None:
        raise BadSnapshotError("the log ends before it")
    reading = Reading(snapshots.realm, own.sequence, commit.digest(own.payload))
    async for part in snapshots.store.get(sequence):
        reading.take(part)
    fold = reading.fold()
    async for entry in entries:
        fold.apply(entry)
    return fold
