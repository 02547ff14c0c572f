"""`decide`: the one decision function (DESIGN section 2, idea 2).

Rules of this file and of what it calls: synchronous, pure of clock, randomness, I/O and set
order. The state is read, never written. Nothing happened is `()`, so a repeated command is
idempotent by state. Refusals are values; a failed assertion is our own mistake.
"""

from __future__ import annotations

from typing import NamedTuple

from ipledger.engine.allocate import allocate, refused
from ipledger.engine.commands import (
    Allocate,
    AnyCommand,
    ApplyPool,
    DeletePool,
    Release,
    ReleaseAllocation,
)
from ipledger.engine.pools import apply_pool, delete_pool
from ipledger.engine.refusals import Refusal
from ipledger.engine.release import release, release_allocation
from ipledger.events.types import AnyEvent
from ipledger.projections.state import State


class Decision(NamedTuple):
    """What follows from a command. A refused one leaves no event but its refusal (invariant 4)."""

    events: tuple[AnyEvent, ...]
    refusal: Refusal | None = None


def decide(state: State, command: AnyCommand, now: int) -> Decision:
    """Decide a command at a time (microseconds since the Unix epoch), from a state."""
    match command:
        case Allocate():
            outcome = allocate(state, command, now)
            if isinstance(outcome, Refusal):
                return Decision(refused(state, command, outcome), outcome)
        case Release():
            outcome = release(state, command, now)
        case ReleaseAllocation():
            outcome = release_allocation(state, command)
        case ApplyPool():
            outcome = apply_pool(state, command)
        case DeletePool():
            outcome = delete_pool(state, command)
    if isinstance(outcome, Refusal):
        return Decision((), outcome)
    return Decision(outcome)
