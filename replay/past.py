"""What was: any moment of a log, asked through its history.

A moment is a position. A time stands for the last event at or before it; every event of a commit
has the commit's time, so that nothing is between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import msgspec

from ipledger.events.addresses import format_ip, parse_ip
from ipledger.events.commit import Commit, decode, digest
from ipledger.events.garbage import collecting_later
from ipledger.events.log import BrokenLogError, Entry, ReadableLog
from ipledger.events.position import START, Position
from ipledger.projections.exhaustion import (
    SAMPLES,
    WINDOW_S,
    Exhaustion,
    Sample,
    forecast,
    growth,
)
from ipledger.projections.fold import Fold
from ipledger.projections.history import Interval
from ipledger.projections.pool import Pool
from ipledger.projections.state import State
from ipledger.replay.history_store import HistoryStore, RewrittenError
from ipledger.replay.log import LoggedEvent, logged

_AT_ONCE = 32
"""Commits that are asked for while others are on their way."""
_SPAN_RATIO = 16
"""A stretch of the log is read whole if that is fewer commits than this many for each wanted."""


class NoSuchMomentError(Exception):
    """The log has no such position; the message says how far it goes."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A position of the log and the time of its commit (microseconds, Unix; 0 before the first)."""

    position: Position
    time: int


@dataclass(frozen=True, slots=True)
class Holding:
    """Who held an address: the interval, and the ones before and behind where nobody did."""

    interval: Interval | None
    before: Interval | None = None
    behind: Interval | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """A log with its history, which goes as far as `last`, the log's last commit, at least."""

    log: ReadableLog
    store: HistoryStore
    last: int

    async def now(self) -> Moment:
        """The end of the log."""
        return await self.end_of(self.last)

    async def at_time(self, micros: int) -> Moment:
        """The last event at or before a time."""
        found = await self.store.query(
            "SELECT sequence FROM commits WHERE time <= ? AND sequence <= ?"
            " ORDER BY time DESC, sequence DESC LIMIT 1",
            micros,
            self.last,
        )
        return await self.end_of(found[0][0] if found else 0)

    async def since_time(self, micros: int) -> Position:
        """Where the events at a time or behind it begin."""
        before = (await self.at_time(micros - 1)).position
        return Position(before.sequence, before.index + 1)

    async def at_position(self, position: Position) -> Moment:
        """A position. Raises `NoSuchMomentError`."""
        if position == START:
            return Moment(START, 0)
        if not 1 <= position.sequence <= self.last:
            end = (await self.now()).position
            raise NoSuchMomentError(f"position {position}: the log ends at {end}")
        moment = await self.end_of(position.sequence)
        if position.index > moment.position.index:
            raise NoSuchMomentError(
                f"position {position}: commit {position.sequence} ends with {moment.position}"
            )
        return Moment(position, moment.time)

    async def before(self, position: Position) -> Position:
        """The position of the event before."""
        if position.index:
            return Position(position.sequence, position.index - 1)
        return (await self.end_of(position.sequence - 1)).position

    async def state(self, position: Position) -> State:
        """The state at a position, as any engine had it there. Raises `BrokenLogError`."""
        return (await self.fold(position)).state

    async def fold(self, position: Position) -> Fold:
        """A fold that has taken in everything up to a position."""
        whole = await self.end_of(position.sequence) if position.sequence else None
        upto = position.sequence if whole and whole.position == position else position.sequence - 1
        fold = await self.store.keyframe(upto)
        if fold.sequence >= position.sequence:
            return fold
        with collecting_later():
            async for entry in self.log.read(fold.sequence):
                if entry.sequence > upto:
                    fold.look_into(entry, position.index)
                    break
                fold.apply(entry)
                if entry.sequence == position.sequence:
                    break
        return fold

    async def holding(self, address: str, position: Position) -> Holding:
        """Who held an address at a position. Raises `ValueError` on text that is none."""
        text = format_ip(*parse_ip(address))
        at = position.number
        before = await self._interval("from_position <= ? ORDER BY from_position DESC", text, at)
        if before is not None and (before.to_position is None or before.to_position > at):
            return Holding(before)
        behind = await self._interval("from_position > ? ORDER BY from_position", text, at)
        return Holding(None, before, behind)

    async def events(self, positions: Iterable[int]) -> AsyncIterator[LoggedEvent]:
        """The events at these numbers of positions, which are in order, from the log itself.

        Each commit is the one that the history was made of: raises `RewrittenError` otherwise.
        """
        wanted = [
            (sequence, [Position.of_number(number).index for number in numbers])
            for sequence, numbers in groupby(positions, lambda n: Position.of_number(n).sequence)
        ]
        at = dict(wanted)
        async for entry in self._entries([sequence for sequence, _ in wanted]):
            found = logged(entry)
            for index in at[entry.sequence]:
                yield found[index]

    async def commit(self, sequence: int) -> Commit | None:
        """A commit, None behind the end of the log. Raises as `events` does."""
        if sequence > self.last:
            return None
        return decode((await self._checked(await self.log.get(sequence), sequence)).payload)

    async def allocation_events(self, number: int, position: Position) -> list[LoggedEvent]:
        """The events about an allocation up to a position."""
        rows = await self.store.query(
            "SELECT position FROM events WHERE allocation = ? AND position <= ? ORDER BY position",
            number,
            position.number,
        )
        return [event async for event in self.events(at for (at,) in rows)]

    async def exhaustion(self, pool: Pool, moment: Moment) -> Exhaustion | None:
        """When a pool as it was at a moment would be full, as an engine would have said then."""
        name, start = pool.spec.name, moment.time - round(WINDOW_S * 1e6)
        rows = await self.store.query(
            "SELECT min(time) FROM touches JOIN commits ON sequence = position >> 20"
            " WHERE kind = 'pool' AND name = ?",
            name,
        )
        start = max(start, rows[0][0] or 0)
        step = (moment.time - start) / SAMPLES
        times = [round(start + step * number) for number in range(SAMPLES + 1)]
        used = await self.used(name, times)
        rate = growth([Sample(*one) for one in zip(times, used, strict=True)], WINDOW_S)
        if rate is None:
            return None
        return forecast(name, rate, (moment.time - start) / 1e6, pool.free)

    async def used(self, pool: str, times: Sequence[int]) -> Sequence[int]:
        """How many addresses of a pool somebody held at each time."""
        sums = ", ".join(
            f"coalesce(sum(from_time <= {at} AND (to_time IS NULL OR to_time > {at})), 0)"
            for at in times
        )
        rows = await self.store.query(f"SELECT {sums} FROM intervals WHERE pool = ?", pool)
        found: Sequence[int] = rows[0]
        return found

    async def _interval(self, condition: str, address: str, number: int) -> Interval | None:
        limit = Position(self.last + 1, 0).number
        rows = await self.store.query(
            f"SELECT * FROM intervals WHERE address = ? AND from_position < {limit}"
            f" AND {condition} LIMIT 1",
            address,
            number,
        )
        return self._up_to_now(intervals_of(rows)[0]) if rows else None

    def _up_to_now(self, interval: Interval) -> Interval:
        """The interval as it stands at the end of the log, which the history may know more of."""
        if interval.to_position is not None and interval.to_position >> 20 > self.last:
            interval.to_position = interval.to_time = None
        return interval

    async def end_of(self, sequence: int) -> Moment:
        """The last event of a commit that there is; of 0, before the first."""
        if sequence == 0:
            return Moment(START, 0)
        rows = await self.store.query(
            "SELECT time, events - coalesce((SELECT events FROM commits WHERE sequence = ?), 0)"
            " FROM commits WHERE sequence = ?",
            sequence - 1,
            sequence,
        )
        time, count = rows[0]
        return Moment(Position(sequence, count - 1), time)

    async def _entries(self, sequences: Sequence[int]) -> AsyncIterator[Entry]:
        if not sequences:
            return
        span = sequences[-1] - sequences[0]
        if len(sequences) > _AT_ONCE and span < _SPAN_RATIO * len(sequences):
            wanted = frozenset(sequences)
            async for entry in self.log.read(sequences[0] - 1):
                if entry.sequence in wanted:
                    yield await self._checked(entry, entry.sequence)
                if entry.sequence == sequences[-1]:
                    return
        for start in range(0, len(sequences), _AT_ONCE):
            part = sequences[start : start + _AT_ONCE]
            found = await asyncio.gather(*map(self.log.get, part))
            for sequence, stored in zip(part, found, strict=True):
                yield await self._checked(stored, sequence)

    async def _checked(self, entry: Entry | None, sequence: int) -> Entry:
        if entry is None:
            raise BrokenLogError(sequence, "missing in the log")
        found, kept = digest(entry.payload), await self.store.hash_of(sequence)
        if found != kept:
            raise RewrittenError(
                f"commit {sequence} has hash {found} in the log, and had {kept} when the history "
                f"{self.store.path} was made of it"
            )
        return entry


def intervals_of(rows: Sequence[Any]) -> list[Interval]:
    """Rows of `intervals` as they are read."""
    return msgspec.convert(rows, list[Interval], strict=False)
