"""Folding the log: each commit is checked against the chain, then its events are evolved."""

from __future__ import annotations

from collections.abc import Callable

from ipledger.events.chain import Head, check_prev, check_sequence
from ipledger.events.clock import parse_time
from ipledger.events.commit import GENESIS, Commit, UnreadableCommitError, decode, digest
from ipledger.events.log import BrokenLogError, Entry
from ipledger.events.types import AnyEvent
from ipledger.projections.evolve import ContradictionError, evolve_all
from ipledger.projections.state import State


class Fold:
    """A state and the head of the chain it was folded from: sequence, hash, time.

    `restored_events` of its events came with a snapshot. `before_event` is given each event with
    the state before it, for who needs to know what an event is about.
    """

    __slots__ = ("before_event", "hash", "restored_events", "sequence", "state", "time")

    def __init__(self) -> None:
        self.state = State()
        self.sequence = 0
        self.hash = GENESIS
        self.time = 0
        self.restored_events = 0
        self.before_event: Callable[[State, AnyEvent], None] | None = None

    @property
    def head(self) -> Head:
        """Where the chain is: sequence and hash of the newest commit."""
        return Head(self.sequence, self.hash)

    def apply(self, entry: Entry, decoded: Commit | None = None) -> Commit:
        """Take in the next commit. Raises `BrokenLogError` (invariant 6); the fold is then dead.

        `decoded` is the commit, where it was read already.
        """
        commit, time = self._check(entry, decoded)
        try:
            evolve_all(self.state, commit.events, entry.sequence, time, self.before_event)
        except ContradictionError as found:
            kind = type(commit.events[found.index]).__name__
            what = f"event {found.index} ({kind}) contradicts the state: {found.error!r}"
            raise BrokenLogError(entry.sequence, what) from found
        self.advance(entry.sequence, digest(entry.payload), time)
        return commit

    def look_into(self, entry: Entry, index: int) -> None:
        """Take in the events of the next commit up to one. The fold goes no further then."""
        commit, time = self._check(entry, None)
        evolve_all(self.state, commit.events[: index + 1], entry.sequence, time)

    def advance(self, sequence: int, payload_hash: str, time: int) -> None:
        """Move the head past a commit whose events the state already has."""
        self.sequence = sequence
        self.hash = payload_hash
        self.time = time

    def _check(self, entry: Entry, decoded: Commit | None) -> tuple[Commit, int]:
        sequence = entry.sequence
        if sequence != self.sequence + 1:
            check_sequence(self.head, sequence)
        try:
            commit = decode(entry.payload) if decoded is None else decoded
            time = parse_time(commit.time)
        except (UnreadableCommitError, ValueError) as error:
            raise BrokenLogError(sequence, f"cannot be read: {error}") from error
        if commit.prev != self.hash:
            check_prev(self.head, sequence, commit.prev)
        if time < self.time:
            raise BrokenLogError(sequence, f"its time {commit.time} is before the commit before it")
        return commit, time
