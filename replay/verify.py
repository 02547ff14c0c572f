"""Verification of a whole log: is it the record it claims to be?

Two witnesses read it. The fold checks the chain, the order, the times (invariant 6) and its own
assertions; the books check invariants 1, 2, 3, 7 and 8 by themselves.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ipledger.events.commit import Commit, UnreadableCommitError, decode
from ipledger.events.log import BrokenLogError, Entry, Log
from ipledger.events.position import START, Position
from ipledger.projections.fold import Fold
from ipledger.replay.bookkeeping import Bookkeeping, ViolationError


class Report(msgspec.Struct, frozen=True, rename="camel"):
    """What was found. Counts and `position` are of what is good.

    `digest` is the hash of the state at `position`; a log that is not good has none, but the
    first bad position and the reason instead.
    """

    ok: bool
    commits: int
    events: int
    position: str
    digest: str = ""
    bad_position: str = ""
    reason: str = ""


class _BadError(Exception):
    def __init__(self, position: Position, reason: str) -> None:
        super().__init__(reason)
        self.position = position


async def verify(log: Log, progress: Callable[[int], None] = lambda commits: None) -> Report:
    """Read a log from its first commit to its last. Raises `LogUnavailableError`.

    `progress` is told how many commits were read.
    """
    fold, books = Fold(), Bookkeeping()
    commits, events, position = 0, 0, str(START)
    try:
        async for entry in log.read(0):
            events += len(_check(fold, books, entry).events)
            commits, position = fold.sequence, str(fold.state.position)
            progress(commits)
    except _BadError as bad:
        bad_position, reason = str(bad.position), str(bad)
        return Report(False, commits, events, position, "", bad_position, reason)
    return Report(True, commits, events, position, fold.state.digest())


def _check(fold: Fold, books: Bookkeeping, entry: Entry) -> Commit:
    violation = _violation(books, entry)
    try:
        commit = fold.apply(entry)
    except BrokenLogError as error:
        raise _worse(Position(error.sequence, 0), error.what, violation) from error
    except Exception as error:  # whatever the fold stumbles over stands in the log
        what = f"cannot be folded: {error!r}"
        raise _worse(Position(entry.sequence, 0), what, violation) from error
    if violation is not None:
        raise violation
    return commit


def _worse(position: Position, what: str, violation: _BadError | None) -> _BadError:
    """What the fold found, with what the books say of the same commit."""
    if violation is None or violation.position.sequence != position.sequence:
        return _BadError(position, what)
    return _BadError(violation.position, f"{what}; {violation}")


def _violation(books: Bookkeeping, entry: Entry) -> _BadError | None:
    """What the books say to a commit; one that cannot be read is the fold's to report."""
    try:
        events = decode(entry.payload).events
    except UnreadableCommitError:
        return None
    for index, event in enumerate(events):
        try:
            books.enter(event)
        except ViolationError as error:
            return _BadError(Position(entry.sequence, index), str(error))
        except ValueError as error:  # an address or a range that is none
            return _BadError(Position(entry.sequence, index), f"invariant 2: {error}")
    return None
