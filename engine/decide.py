"""`decide`: the one decision function (DESIGN section 2, idea 2).

Rules of this file and of what it calls: synchronous, pure of clock, randomness, I/O and set
order. The state is read, never written. Nothing happened is `()`, so a repeated command is
idempotent by state. Refusals are values; a failed assertion is our own mistake.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from ipledger.engine.allocate import allocate, refused
from ipledger.engine.applications import apply_application, delete_application
from ipledger.engine.auto_imports import import_auto_pool
from ipledger.engine.commands import (
    Allocate,
    AnyCommand,
    ApplyApplication,
    ApplyPool,
    ApplyReservation,
    ApplySubnet,
    Command,
    Confirm,
    DeleteApplication,
    DeletePool,
    DeleteReservation,
    DeleteSubnet,
    ImportAllocation,
    ImportAutoPool,
    QuarantineAddress,
    Release,
    ReleaseAllocation,
    RestoreAddress,
    RetainAttachments,
)
from ipledger.engine.identity import unknowable
from ipledger.engine.importing import import_allocation
from ipledger.engine.pools import apply_pool, delete_pool
from ipledger.engine.quarantine import quarantine_address, restore_address
from ipledger.engine.refusals import Refusal
from ipledger.engine.release import release, release_allocation, retain_attachments
from ipledger.engine.reservations import apply_reservation, delete_reservation
from ipledger.engine.subnets import apply_subnet, delete_subnet
from ipledger.events.types import AnyEvent
from ipledger.projections.state import State


class Decision(NamedTuple):
    """What follows from a command. A refused one leaves no event but its refusal (invariant 4)."""

    events: tuple[AnyEvent, ...]
    refusal: Refusal | None = None


_Outcome: TypeAlias = tuple[AnyEvent, ...] | Refusal


def _confirm(state: State, command: Confirm) -> _Outcome:
    return ()


_TIMELESS: dict[type[Command], Callable[[State, Any], _Outcome]] = {
    Confirm: _confirm,
    ReleaseAllocation: release_allocation,
    ImportAllocation: import_allocation,
    ImportAutoPool: import_auto_pool,
    ApplyPool: apply_pool,
    DeletePool: delete_pool,
    ApplySubnet: apply_subnet,
    DeleteSubnet: delete_subnet,
    ApplyReservation: apply_reservation,
    DeleteReservation: delete_reservation,
    ApplyApplication: apply_application,
    DeleteApplication: delete_application,
    QuarantineAddress: quarantine_address,
    RestoreAddress: restore_address,
}
"""Commands whose outcome does not depend on when they are decided."""


def decide(state: State, command: AnyCommand, now: int) -> Decision:
    """Decide a command at a time (microseconds since the Unix epoch), from a state."""
    if isinstance(command, Allocate):
        wrong = unknowable(command)
        if wrong is not None:
            return Decision((), wrong)
        outcome = allocate(state, command, now)
        if isinstance(outcome, Refusal):
            return Decision(refused(state, command, outcome, now), outcome)
    elif isinstance(command, Release):
        outcome = release(state, command, now)
    elif isinstance(command, RetainAttachments):
        outcome = retain_attachments(state, command, now)
    else:
        outcome = _TIMELESS[type(command)](state, command)
    if isinstance(outcome, Refusal):
        return Decision((), outcome)
    return Decision(outcome)
