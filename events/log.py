"""The log port: what ipledger needs of an append-only log, whoever keeps it.

Two implementations, held to one contract test (tests/contract/test_log.py): `jetstream` and
`memory`; a `ledger` file is a log that can be read. Sequences start at 1 and rise by one; a log
never changes or drops an entry, and one that did says so (`BrokenLogError`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ipledger.events.quoting import cut


class Entry(NamedTuple):
    """A stored commit: its stream sequence and the bytes as stored.

    `traceparent` is of the span in which it was appended, '' where the log does not keep that.
    """

    sequence: int
    payload: bytes
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Appended:
    """The payload is durable at `sequence`."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Conflict:
    """The payload was not appended and never will be: the log had gone on to `last`."""

    last: int


class LogUnavailableError(Exception):
    """The log could not be read just now; trying again later may succeed."""


class NoLogError(LogUnavailableError):
    """There is no such log (yet)."""


class BrokenLogError(Exception):
    """The log contradicts itself or lost something at `sequence`; nothing behind it is trusted."""

    def __init__(self, sequence: int, what: str) -> None:
        self.sequence = sequence
        self.what = cut(what)
        super().__init__(f"commit {sequence}: {self.what}")


class ReadableLog(Protocol):
    """What can be read of a log. Every method raises `LogUnavailableError`."""

    async def last(self) -> int:
        """The sequence of the last entry, 0 when there is none."""
        ...

    async def get(self, sequence: int) -> Entry | None:
        """One entry, None when there is none of this sequence."""
        ...

    def read(self, after: int) -> AsyncIterator[Entry]:
        """The entries behind `after`, up to the last one at the time of the call.

        Raises `BrokenLogError` when an entry that must be there cannot be had any more.
        """
        ...


class FollowedLog(ReadableLog, Protocol):
    """A log that can be read as it grows."""

    def follow(self, after: int, *, pause_s: float = 0.0) -> AsyncIterator[Entry]:
        """The entries behind `after`, and then each new one as it comes, without end.

        A follower in no hurry has a pause between looks: new entries then come many at a time.

        Raises `BrokenLogError` when the log turns out to be shorter than what was followed, to
        have lost an entry, or to be another log than before.
        """
        ...


class Log(FollowedLog, Protocol):
    """An append-only log with fencing by expected sequence (DESIGN section 2, idea 4)."""

    @property
    def payload_bytes_max(self) -> int:
        """The longest payload that `append` takes."""
        ...

    async def append(
        self, payload: bytes, *, after: int, traceparent: str = ""
    ) -> Appended | Conflict:
        """Append `payload` as the entry next to `after`, durably, or find that this cannot be.

        Returns only when the outcome is certain: a lost answer is resolved by sending the same
        bytes again. Appending the same payload after the same sequence again is answered with
        the sequence it has.
        """
        ...
