"""What must hold when a run is over, told from the log, the answers and the runtimes' book.

The invariants are those of DESIGN section 12. The log is read once, event by event, by three
witnesses at a time: the fold, the auditor's books (replay) and the slow model (tests/support).
"""

from __future__ import annotations

from collections import defaultdict
from random import Random
from typing import NamedTuple

import msgspec
from support import model

from ipledger.engine import decide as decider
from ipledger.engine.answers import Allocated, Applied, Released
from ipledger.engine.commands import (
    Allocate,
    AnyCommand,
    ApplyApplication,
    ApplyPool,
    ApplyReservation,
    Release,
    ReleaseAllocation,
)
from ipledger.engine.decide import Decision
from ipledger.engine.refusals import Refusal
from ipledger.events import commit
from ipledger.events.clock import parse_time
from ipledger.events.commit import Commit
from ipledger.events.log import BrokenLogError, Entry
from ipledger.events.position import Position
from ipledger.events.types import AllocationRefused
from ipledger.projections.evolve import Moment, evolve
from ipledger.projections.fold import Fold
from ipledger.projections.row_makers import allocation_row
from ipledger.projections.state import State
from ipledger.replay.bookkeeping import Bookkeeping
from simulation.book import Book
from simulation.witness import Answered, Witness
from simulation.world import WrongError


class Decided(NamedTuple):
    """A decision that an engine took, and the state that it took it from."""

    epoch: int
    position: Position
    command: AnyCommand
    now: int
    decision: Decision


class Decisions:
    """All decisions of a run, taken down as they are taken."""

    def __init__(self) -> None:
        self.taken: list[Decided] = []

    def decide(self, state: State, command: AnyCommand, now: int) -> Decision:
        """The real `decide`."""
        epoch, position = state.epoch, state.position
        decision = decider.decide(state, command, now)
        self.taken.append(Decided(epoch, position, command, now, decision))
        return decision


class Audit:
    """Reads the log of a run, and holds everything that was said against it."""

    def __init__(self, witness: Witness, decisions: Decisions, book: Book) -> None:
        self.fold = Fold()
        self.facts = model.Facts()
        self._books = Bookkeeping()
        self._book = book
        self._answers: dict[Position, list[Answered]] = defaultdict(list)
        for answered in witness.answered:
            if not isinstance(answered.answer, Refusal):
                position = Position.parse(answered.answer.position)
                self._answers[position].append(answered)
        self._here: list[Decided] = []
        self._decided: dict[tuple[int, Position], list[Decided]] = defaultdict(list)
        for decided in decisions.taken:
            self._decided[decided.epoch, decided.position].append(decided)

    def read(self, payloads: list[bytes]) -> None:
        """The whole log. Raises `WrongError`."""
        self._at_position()
        for sequence, payload in enumerate(payloads, 1):
            self._read_commit(Entry(sequence, payload))
        if self._answers:
            position, answers = next(iter(self._answers.items()))
            raise WrongError(f"invariant 4: the log has no {position}, but it answered {answers}")

    def _read_commit(self, entry: Entry) -> None:
        read = commit.decode(entry.payload)
        time = parse_time(read.time)
        if read.prev != self.fold.hash or time < self.fold.time:
            raise WrongError(f"invariant 6: commit {entry.sequence} does not follow the one before")
        for index, event in enumerate(read.events):
            self._check_decided(read, index, time)
            self.facts = model.replay(self.facts, event, time)
            self._books.enter(event)
            evolve(self.fold.state, event, Moment(entry.sequence, index, time))
            self._at_position()
        self.fold.advance(entry.sequence, commit.digest(entry.payload), time)
        model.check(self.facts)

    def _check_decided(self, read: Commit, index: int, time: int) -> None:
        """Invariant 9: here stands what was decided here by whoever committed it, and its time."""
        for decided in self._here:
            made = decided.decision.events
            if not made or decided.epoch != read.epoch:
                continue
            if made != read.events[index : index + len(made)] or decided.now != time:
                position = self.fold.state.position
                raise WrongError(
                    f"invariant 9: at {position} {made} was decided, but not committed so"
                )

    def _at_position(self) -> None:
        state = self.fold.state
        self._here = self._decided.pop((state.epoch, state.position), [])
        for decided in self._here:
            again = decider.decide(state, decided.command, decided.now)
            if again != decided.decision:
                raise WrongError(
                    f"invariant 9: at {state.position} {decided.command} was decided as "
                    f"{decided.decision}, and is now as {again}"
                )
            _check_refusal(decided)
        for answered in self._answers.pop(state.position, ()):
            if not _is_true(state, answered):
                raise WrongError(f"invariant 4: it is not so in the log: {answered}")

    def check_attachments(self) -> None:
        """What the runtimes were told at last is what the log says at last; nothing is leaked."""
        live = {(a.sandbox, a.identity[1]): a for a in self.facts.live.values() if a.sandbox}
        for attachment, allocation in live.items():
            if self._book.is_deleted(attachment):
                raise WrongError(f"a leak: {attachment} was deleted, but has {allocation}")
        for (uid, interface), told in self._book.told.items():
            has = live.get((told.sandbox, interface))
            held = [str(address) for _, address in has.addresses] if has else []
            if has is None or has.identity[0] != uid or sorted(held) != sorted(told.addresses):
                raise WrongError(f"pod {uid} {interface} was told {told}, the log: {has}")


def _check_refusal(decided: Decided) -> None:
    """Invariant 4: a refused command left nothing but its refusal."""
    refusal, events = decided.decision.refusal, decided.decision.events
    if refusal is not None and [type(event) for event in events] not in ([], [AllocationRefused]):
        raise WrongError(f"invariant 4: refused, but {decided}")


def _is_true(state: State, answered: Answered) -> bool:
    """Whether an answer is so in the state at its position."""
    command, answer = answered
    match command, answer:
        case Allocate(), Allocated():
            held = state.allocations.of((command.pod.uid, command.interface))
            is_ours = held is not None and held.sandbox == command.sandbox
            return is_ours and held is not None and allocation_row(held) == answer.allocation
        case Release(), Released():
            held = state.allocations.at((command.sandbox, command.interface))
            return held is None or held.node != command.node
        case ReleaseAllocation(), Released():
            return state.allocations.get(command.allocation) is None
        case ApplyPool(), Applied():
            pool = state.pools.get(command.pool.name)
            return pool is not None and pool.spec.disable == command.pool.disable
        case ApplyReservation(), Applied():
            return command.reservation.name in state.reservations
        case ApplyApplication(), Applied():
            return command.application in state.applications.values()
        case _:
            return False


def check_that_tampering_is_found(payloads: list[bytes], random: Random) -> None:
    """Invariant 6: a replica that is given an altered commit stops at it or at the next one."""
    if len(payloads) < 3:
        return
    at = random.randrange(len(payloads) - 1)
    altered = [*payloads[:at], _altered(payloads[at]), *payloads[at + 1 :]]
    fold = Fold()
    try:
        for sequence, payload in enumerate(altered, 1):
            fold.apply(Entry(sequence, payload))
    except BrokenLogError as error:
        if error.sequence in (at + 1, at + 2):
            return
        raise WrongError(f"commit {at + 1} was altered, but {error}") from error
    raise WrongError(f"commit {at + 1} was altered, and no replica notices")


def _altered(payload: bytes) -> bytes:
    """The same commit, said to be of another epoch: nothing but its bytes tell."""
    read = msgspec.json.decode(payload)
    return msgspec.json.encode({**read, "epoch": read["epoch"] + 1})
