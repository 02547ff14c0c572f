"""The chain of commits: each one names the hash of the one before (DESIGN section 2, idea 7)."""

from __future__ import annotations

from typing import NamedTuple

from ipledger.events.commit import GENESIS, UnreadableCommitError, digest, prev_of
from ipledger.events.log import BrokenLogError, Entry


class Head(NamedTuple):
    """How far a log is known: the sequence and the hash of its newest commit."""

    sequence: int
    hash: str


EMPTY = Head(0, GENESIS)
"""The head of a log without commits."""


def link(head: Head, entry: Entry) -> Head:
    """The head behind the next commit. Raises `BrokenLogError` (invariant 6).

    Only the chain is looked at; whether the events can be read is the fold's business.
    """
    check_sequence(head, entry.sequence)
    try:
        prev = prev_of(entry.payload)
    except UnreadableCommitError as error:
        raise BrokenLogError(entry.sequence, f"cannot be read: {error}") from error
    check_prev(head, entry.sequence, prev)
    return Head(entry.sequence, digest(entry.payload))


def check_sequence(head: Head, sequence: int) -> None:
    """Raise `BrokenLogError` unless `sequence` comes next."""
    if sequence != head.sequence + 1:
        raise BrokenLogError(head.sequence + 1, f"missing: the log goes on at {sequence}")


def check_prev(head: Head, sequence: int, prev: str) -> None:
    """Raise `BrokenLogError` unless a commit's `prev` is the hash of the head."""
    if prev != head.hash:
        what = f"prev is {prev}, but commit {head.sequence} has hash {head.hash}"
        raise BrokenLogError(sequence, what)


def check_copy(entry: Entry, copy: Entry | None) -> None:
    """Raise `BrokenLogError` unless a ledger has the same commit, or none there.

    The span in which it was appended is the log's alone, and no difference.
    """
    if copy is not None and copy.payload != entry.payload:
        hashes = f"{digest(entry.payload)} in the log and {digest(copy.payload)} in the ledger"
        raise BrokenLogError(entry.sequence, f"its hash is {hashes}")
