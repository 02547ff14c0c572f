"""Flow records with the pod that held the address at that time.

The intervals of every address are held as integers (24 bytes each), and the names of pods are
looked up when they are met; what a flow log needs does not grow with it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from ipledger.events.addresses import format_ip, parse_ip
from ipledger.events.clock import parse_time
from ipledger.events.position import Position
from ipledger.events.quoting import quote
from ipledger.replay.past import Past

UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 0}
"""Units of times that are numbers, in microseconds; nanoseconds are divided."""

_LASTING = (1 << 63) - 1
_HOLDERS_MAX = 65_536
_NOBODY = 0


class Holder(NamedTuple):
    """Who held an address: the fields that are added to a record."""

    namespace: str
    pod: str
    uid: str
    node: str
    allocation: str


@dataclass(slots=True)
class _Track:
    """The intervals of one address in order: when each began and ended, and its id."""

    begins: array[int] = field(default_factory=lambda: array("q"))
    ends: array[int] = field(default_factory=lambda: array("q"))
    ids: array[int] = field(default_factory=lambda: array("q"))

    def at(self, time: int) -> int:
        """The id of the interval at a time: it began then or before, and ended after."""
        index = bisect_right(self.begins, time) - 1
        return self.ids[index] if index >= 0 and time < self.ends[index] else _NOBODY


@dataclass(slots=True)
class Tracks:
    """The intervals of all addresses, as a log has them."""

    past: Past
    _tracks: dict[str, _Track] = field(default_factory=dict[str, _Track])
    _holders: dict[int, Holder] = field(default_factory=dict[int, Holder])

    async def load(self) -> None:
        """Read them from the history. Raises `HistoryError`."""
        end = Position(self.past.last + 1, 0).number
        query = (
            "SELECT address, from_time, CASE WHEN to_position < ? THEN to_time END, id"
            " FROM intervals WHERE from_position < ? ORDER BY id"
        )
        async with self.past.store.db.execute(query, (end, end)) as cursor:
            while rows := await cursor.fetchmany(50_000):
                self._add(rows)

    def _add(self, rows: Iterable[Any]) -> None:
        tracks = self._tracks
        for address, begin, end, interval in rows:
            track = tracks.get(address)
            if track is None:
                track = tracks[address] = _Track()
            track.begins.append(begin)
            track.ends.append(_LASTING if end is None else end)
            track.ids.append(interval)

    def find(self, address: str, time: int) -> int:
        """The interval of an address at a time, 0 if nobody held it. Raises `ValueError`."""
        track = self._tracks.get(address)
        if track is None:
            track = self._tracks.get(format_ip(*parse_ip(address)))
        return track.at(time) if track is not None else _NOBODY

    async def holders(self, ids: Sequence[int]) -> dict[int, Holder]:
        """The holders of intervals; 0 has none."""
        known = self._holders
        missing = [wanted for wanted in dict.fromkeys(ids) if wanted and wanted not in known]
        if missing:
            if len(known) > _HOLDERS_MAX:
                known.clear()
                missing = [wanted for wanted in dict.fromkeys(ids) if wanted]
            rows = await self.past.store.query(
                "SELECT id, namespace, pod, uid, node, 'a' || allocation FROM intervals"
                " WHERE id IN (SELECT value FROM json_each(?))",
                msgspec.json.encode(missing).decode(),
            )
            known.update((row[0], Holder(*row[1:])) for row in rows)
        return known


def time_of(value: object, unit: int) -> int:
    """A record's time in microseconds: RFC 3339 text, or a number of units. `ValueError`."""
    if isinstance(value, str):
        if not value.replace(".", "", 1).isdecimal():
            return _time_of_text(value)
        value = int(value) if value.isdecimal() else float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{quote(value)} is not a time")
    if unit == 0:
        return int(value // 1000)
    return value * unit if isinstance(value, int) else round(value * unit)


def _time_of_text(text: str) -> int:
    try:
        return parse_time(text)
    except ValueError:
        raise ValueError(f"{quote(text)} is not a time") from None
