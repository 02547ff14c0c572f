"""Writing a history: the commits that it does not have yet, in order, however far it was."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from pathlib import Path

import msgspec

from ipledger.events.chain import Head, link
from ipledger.events.clock import parse_time
from ipledger.events.commit import Commit, UnreadableCommitError, decode
from ipledger.events.garbage import collecting_later
from ipledger.events.log import BrokenLogError, Entry, ReadableLog
from ipledger.projections.fold import Fold
from ipledger.projections.history import Interval, Rows
from ipledger.replay.history_store import HistoryStore, Keyframe, keyframe_of

KEYFRAME_EVENTS = 50_000
"""A keyframe is taken behind the commit with which the events reach a multiple of this."""

_BATCH_EVENTS = 20_000

Progress = Callable[[int], None]


def _silent(sequence: int) -> None:
    pass


@contextlib.asynccontextmanager
async def lock(path: Path, *, wait: bool = True) -> AsyncGenerator[bool]:
    """Hold the right to write a history: one process at a time. Raises `OSError`.

    Without `wait`, yields False if another process has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if wait:
            await asyncio.to_thread(fcntl.flock, fd, fcntl.LOCK_EX)
        yield wait or _is_free(fd)
    finally:
        os.close(fd)


def _is_free(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class HistoryWriter:
    """Takes the commits of a log in behind those that a history has. `lock` is held meanwhile."""

    def __init__(self, store: HistoryStore, keyframe_events: int = KEYFRAME_EVENTS) -> None:
        self._store = store
        self._every = keyframe_events
        self.head = Head(0, "")
        self.time = 0
        self._rows = Rows()
        self._fold: Fold | None = None
        self._keyframes: list[Keyframe] = []
        self._framed = 0

    async def begin(self) -> None:
        """Find out how far the history is."""
        self.head, self.time, events = await self._store.checkpoint()
        [(next_id,)] = await self._store.query("SELECT coalesce(max(id), 0) + 1 FROM intervals")
        [(framed,)] = await self._store.query("SELECT coalesce(max(events), 0) FROM keyframes")
        self._rows = Rows(next_id, events)
        self._framed = framed
        self._fold = Fold() if self.head.sequence == 0 else None

    async def catch_up(self, log: ReadableLog, last: int, progress: Progress = _silent) -> None:
        """Take in the commits up to `last`. `progress` is told the sequence of each one.

        Raises `BrokenLogError`, `LogUnavailableError`, `HistoryError`; what was written before
        stays.
        """
        await self.begin()
        if self.head.sequence < last:
            with collecting_later():
                async for entry in log.read(self.head.sequence):
                    await self._take(entry)
                    progress(entry.sequence)
                    if entry.sequence == last:
                        break
                await self._flush(log)
        await self._store.make_indexes()

    async def follow(self, log: ReadableLog, entries: AsyncIterator[Entry]) -> AsyncIterator[int]:
        """Take in commits as they come. Yields the sequence of each one when it is written."""
        async for entry in entries:
            await self._take(entry)
            await self._flush(log)
            yield entry.sequence

    async def _take(self, entry: Entry) -> None:
        commit, time = self._read(entry)
        if self._fold is None:
            head = link(self.head, entry)
        else:
            self._fold.apply(entry, commit)
            head = self._fold.head
        await self._know(commit)
        try:
            self._rows.enter(entry.sequence, time, bytes.fromhex(head.hash), commit.events)
        except (LookupError, ValueError) as error:
            what = f"contradicts what came before: {error!r}"
            raise BrokenLogError(entry.sequence, what) from error
        self.head, self.time = head, time
        if self._fold is not None:
            self._frame(self._fold)
        if self._rows.waiting >= _BATCH_EVENTS:
            await self._write()

    def _read(self, entry: Entry) -> tuple[Commit, int]:
        try:
            commit = decode(entry.payload)
            time = parse_time(commit.time)
        except (UnreadableCommitError, ValueError) as error:
            raise BrokenLogError(entry.sequence, f"cannot be read: {error}") from error
        if time < self.time:
            what = f"its time {commit.time} is before the commit before it"
            raise BrokenLogError(entry.sequence, what)
        return commit, time

    async def _know(self, commit: Commit) -> None:
        unknown = list(self._rows.unknown(commit.events))
        if not unknown:
            return
        rows: Sequence[object] = await self._store.query(
            "SELECT * FROM intervals WHERE to_position IS NULL"
            " AND allocation IN (SELECT value FROM json_each(?)) ORDER BY id",
            msgspec.json.encode(unknown).decode(),
        )
        self._rows.know(msgspec.convert(rows, list[Interval], strict=False))

    def _frame(self, fold: Fold) -> None:
        """Take a keyframe if one is due: where it is due follows from the log alone."""
        events = fold.state.events_ever
        if events // self._every > self._framed // self._every:
            self._keyframes.append(keyframe_of(fold))
            self._framed = events

    async def _flush(self, log: ReadableLog) -> None:
        await self._write()
        if self._rows.events // self._every > self._framed // self._every:
            await self._frame_behind(log)

    async def _write(self) -> None:
        keyframes, self._keyframes = self._keyframes, []
        await self._store.write(self._rows.take(), keyframes)

    async def _frame_behind(self, log: ReadableLog) -> None:
        """Keyframes that fell due while only rows were made."""
        fold = await self._store.keyframe(self.head.sequence)
        async for entry in log.read(fold.sequence):
            fold.apply(entry)
            self._frame(fold)
            if entry.sequence == self.head.sequence:
                break
        await self._write()
        self._fold = fold
