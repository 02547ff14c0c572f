"""Verification of a whole log: is it the record it claims to be?

Two witnesses read it. The fold checks the chain, the order, the times (invariant 6) and its own
assertions; the books check invariants 1, 2, 3, 7 and 8 by themselves. Signed checkpoints are
checked where they stand in the log, and so are those that somebody kept elsewhere.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

import msgspec

from ipledger.events.chain import Head, check_copy, check_sequence
from ipledger.events.commit import Commit, UnreadableCommitError, decode
from ipledger.events.garbage import collecting_later
from ipledger.events.log import BrokenLogError, Entry, NoLogError, ReadableLog
from ipledger.events.position import START, Position
from ipledger.events.types import AnyEvent, CheckpointSigned
from ipledger.projections.fold import Fold
from ipledger.replay.bookkeeping import Bookkeeping, ViolationError
from ipledger.replay.checkpoints import Witness

Progress = Callable[[int], None]


class Report(msgspec.Struct, frozen=True, rename="camel"):
    """What was found. Counts and `position` are of what is good.

    `checkpoints` is how many signed ones agree with the log. `digest` is the hash of the state at
    `position`; a log that is not good has none, but the first bad position and the reason instead.
    """

    ok: bool
    commits: int
    events: int
    position: str
    checkpoints: int = 0
    digest: str = ""
    bad_position: str = ""
    reason: str = ""


class Comparison(Report, frozen=True):
    """A log that was verified against a ledger: `behind` says which one has fewer commits.

    `ledger_commits` is how many commits of the ledger are good.
    """

    ledger_commits: int = 0
    behind: str = ""


class _BadError(Exception):
    def __init__(self, position: Position, reason: str) -> None:
        super().__init__(reason)
        self.position = position


class _Verification:
    """Everything that has been found good so far."""

    def __init__(self, kept: Sequence[CheckpointSigned]) -> None:
        self._fold, self._books, self._witness = Fold(), Bookkeeping(), Witness(kept)
        self._commits = self._events = self._checkpoints = 0
        self._position = START
        self.is_over = False

    @property
    def head(self) -> Head:
        """How far it has come."""
        return self._fold.head

    @property
    def commits(self) -> int:
        """How many commits are good."""
        return self._commits

    def take(self, entry: Entry) -> None:
        """Verify the next commit. Raises `_BadError`; it is over then."""
        self.is_over = True
        commit = _check(self._fold, self._books, entry)
        wrong = self._witness.enter(entry.sequence, commit, self._fold.hash)
        if wrong is not None:
            raise _BadError(Position(entry.sequence, wrong.place), wrong.reason)
        self.is_over = False
        self._commits = entry.sequence
        self._events += len(commit.events)
        self._position = self._fold.state.position
        self._checkpoints = self._witness.seen

    def end(self) -> None:
        """Nothing follows. Raises `_BadError` if something should."""
        missing = self._witness.missing(self.head.sequence)
        if missing is not None:
            raise _BadError(Position(self.head.sequence + 1, 0), missing)

    def report(self, bad: _BadError | None = None) -> Report:
        """What was found."""
        position = str(self._position)
        good = Report(True, self._commits, self._events, position, self._checkpoints)
        if bad is None:
            return msgspec.structs.replace(good, digest=self._fold.state.digest())
        return msgspec.structs.replace(
            good, ok=False, bad_position=str(bad.position), reason=str(bad)
        )


def _silent(commits: int) -> None:
    pass


async def verify(
    log: ReadableLog, progress: Progress = _silent, kept: Sequence[CheckpointSigned] = ()
) -> Report:
    """Read a log from its first commit to its last. Raises `LogUnavailableError`.

    `progress` is told how many commits were read. `kept` are checkpoints that somebody kept and
    whose signatures were checked: the log must go as far, and have these commits.
    """
    verification = _Verification(kept)
    try:
        with collecting_later():
            async for entry in _whole(log):
                verification.take(entry)
                progress(entry.sequence)
        verification.end()
    except _BadError as bad:
        return verification.report(bad)
    return verification.report()


async def compare(
    log: ReadableLog,
    ledger: ReadableLog,
    progress: Progress = _silent,
    kept: Sequence[CheckpointSigned] = (),
) -> Comparison:
    """Verify a log, and find it identical to a ledger as far as both go.

    A ledger may be behind its log, but not the other way round. Raises `LogUnavailableError`,
    `LedgerError`.
    """
    verification = _Verification(kept)
    copies = ledger.read(0)
    own: Entry | None = None
    try:
        with collecting_later():
            async for entry in _whole(log):
                own = await anext(copies, None)
                _must_equal(verification.head, entry, own)
                verification.take(entry)
                progress(entry.sequence)
        own = await anext(copies, None)
        _must_be_none(verification.head, own)
        verification.end()
    except _BadError as bad:
        report = verification.report(bad)
        good, verdict = await _rest(verification, own, copies)
        reason = f"{report.reason}; {verdict}"
        return _comparison(msgspec.structs.replace(report, reason=reason), good, "")
    last = await ledger.last()
    lag = verification.commits - last
    return _comparison(verification.report(), last, f"ledger by {lag}" if lag else "")


def _must_equal(head: Head, entry: Entry, own: Entry | None) -> None:
    try:
        check_sequence(head, entry.sequence)
        check_copy(entry, own)
    except BrokenLogError as error:
        raise _BadError(Position(error.sequence, 0), error.what) from error


def _must_be_none(head: Head, own: Entry | None) -> None:
    if own is not None:
        what = f"missing: the log ends at {head.sequence}, and the ledger goes on"
        raise _BadError(Position(head.sequence + 1, 0), what)


async def _rest(
    verification: _Verification, own: Entry | None, copies: AsyncIterator[Entry]
) -> tuple[int, str]:
    """Whether the ledger of a log that is not good is good itself, and how far.

    `own` is its newest commit that was looked at, `copies` are those behind it.
    """
    if verification.is_over:
        return verification.commits, "the ledger has it too" if own else "the ledger ends before it"
    own = own or await anext(copies, None)
    try:
        while own is not None:
            if own.sequence > verification.commits:
                verification.take(own)
            own = await anext(copies, None)
    except _BadError as bad:
        return verification.commits, f"the ledger is not good either: {bad.position}: {bad}"
    return verification.commits, f"the ledger is good up to {verification.commits}"


def _comparison(report: Report, good: int, behind: str) -> Comparison:
    facts = msgspec.structs.asdict(report)
    return Comparison(**facts, ledger_commits=good, behind=behind)


async def _whole(log: ReadableLog) -> AsyncIterator[Entry]:
    """The entries of a log; what it says itself to have lost is bad."""
    try:
        async for entry in log.read(0):
            yield entry
    except BrokenLogError as error:
        raise _BadError(Position(error.sequence, 0), error.what) from error
    except NoLogError as error:
        raise _BadError(Position(1, 0), f"missing: {error}") from error


def _check(fold: Fold, books: Bookkeeping, entry: Entry) -> Commit:
    decoded = _decoded(entry)
    violation = _violation(books, entry.sequence, decoded.events) if decoded else None
    try:
        commit = fold.apply(entry, decoded)
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


def _decoded(entry: Entry) -> Commit | None:
    """A commit; one that cannot be read is the fold's to report."""
    try:
        return decode(entry.payload)
    except UnreadableCommitError:
        return None


def _violation(books: Bookkeeping, sequence: int, events: Sequence[AnyEvent]) -> _BadError | None:
    """What the books say to the events of a commit."""
    at = 0
    try:
        for at, event in enumerate(events):  # noqa: B007
            books.enter(event)
    except ViolationError as error:
        return _BadError(Position(sequence, at), str(error))
    except ValueError as error:  # an address or a range that is none
        return _BadError(Position(sequence, at), f"invariant 2: {error}")
    return None
