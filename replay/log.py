"""The log as it is: each event with its position and time, and each commit that cannot be read.

Nothing is folded and no chain is checked, so that a damaged log can be looked at too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import msgspec

from ipledger.events.clock import parse_time
from ipledger.events.commit import UnreadableCommitError, decode
from ipledger.events.log import Entry
from ipledger.events.position import Position
from ipledger.events.types import AnyEvent


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event where it stands. `time` is its commit's; `raw` is the event's JSON as stored."""

    position: Position
    time: str
    event: AnyEvent
    raw: bytes

    def record(self) -> bytes:
        """The event as one JSON object: `position`, `time`, then its fields as stored."""
        head = msgspec.json.encode({"position": str(self.position), "time": self.time})
        return head[:-1] + b"," + self.raw.lstrip()[1:]


@dataclass(frozen=True, slots=True)
class UnreadableCommit:
    """A commit that this release cannot read, and why."""

    sequence: int
    reason: str


class _Stored(msgspec.Struct):
    events: tuple[msgspec.Raw, ...]


_decode_stored = msgspec.json.Decoder(_Stored).decode


def logged(entry: Entry) -> list[LoggedEvent]:
    """The events of a commit. Raises `UnreadableCommitError`."""
    commit = decode(entry.payload)
    stored = _decode_stored(entry.payload).events
    return [
        LoggedEvent(Position(entry.sequence, index), commit.time, event, bytes(raw))
        for index, (event, raw) in enumerate(zip(commit.events, stored, strict=True))
    ]


async def events(
    entries: AsyncIterator[Entry], *, since: int = 0
) -> AsyncIterator[LoggedEvent | UnreadableCommit]:
    """The events of commits that are read or followed, in order.

    Events of commits before `since` (microseconds, Unix) are left out. Raises what reading does.
    """
    async for entry in entries:
        for found in _events_of(entry, since):
            yield found


def _events_of(entry: Entry, since: int) -> Iterator[LoggedEvent | UnreadableCommit]:
    try:
        found = logged(entry)
        time = parse_time(found[0].time)
    except (UnreadableCommitError, ValueError) as error:
        yield UnreadableCommit(entry.sequence, str(error))
        return
    if time >= since:
        yield from found
