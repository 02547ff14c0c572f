"""What a decision means for whoever asked: from the events and the state behind them, an answer."""

from __future__ import annotations

from ipledger.engine.answers import Allocated, AnyAnswer, Applied, Refused, Released, Retained
from ipledger.engine.commands import (
    Allocate,
    AnyCommand,
    DeleteApplication,
    DeletePool,
    DeleteReservation,
    DeleteSubnet,
    ImportAllocation,
    Release,
    ReleaseAllocation,
    RetainAttachments,
)
from ipledger.engine.decide import Decision
from ipledger.events.types import (
    AddressesReleased,
    AddressQuarantined,
    AddressRestored,
    ApplicationCreated,
    ApplicationUpdated,
    PoolCreated,
    PoolDeleted,
    PoolTerminating,
    PoolUpdated,
    ReservationCreated,
    ReservationDeleted,
    ReservationUpdated,
    SubnetCreated,
    SubnetDeleted,
    SubnetUpdated,
)
from ipledger.projections.row_makers import allocation_row
from ipledger.projections.state import State

OUTCOMES: dict[type[object], str] = {
    PoolCreated: "created",
    PoolUpdated: "configured",
    ReservationCreated: "created",
    ReservationUpdated: "configured",
    SubnetCreated: "created",
    SubnetUpdated: "configured",
    ApplicationCreated: "created",
    ApplicationUpdated: "configured",
    PoolTerminating: "terminating",
    PoolDeleted: "deleted",
    SubnetDeleted: "deleted",
    ReservationDeleted: "deleted",
    AddressQuarantined: "quarantined",
    AddressRestored: "restored",
    type(None): "unchanged",
}
"""What the event of a resource means for whoever asked for it."""


def answer_to(command: AnyCommand, decision: Decision, state: State) -> AnyAnswer:
    """What to say to a command once its events are durable, from the state behind them."""
    position = str(state.position)
    if decision.refusal is not None:
        return Refused(position, decision.refusal)
    event = decision.events[0] if decision.events else None
    match command:
        case Allocate() | ImportAllocation():
            held = state.allocations.of((command.pod.uid, command.interface))
            assert held is not None, "an ADD that was not refused has its addresses"
            return Allocated(position, allocation_row(held))
        case DeletePool() if not isinstance(event, PoolDeleted):
            return Applied(position, "terminating")
        case DeletePool() | DeleteSubnet() | DeleteReservation() | DeleteApplication():
            return Applied(position, "deleted")
        case RetainAttachments():
            ended = (e.allocation for e in decision.events if isinstance(e, AddressesReleased))
            return Retained(position, tuple(ended))
        case Release() | ReleaseAllocation():
            freed = event.allocation if isinstance(event, AddressesReleased) else ""
            return Released(position, freed)
        case _:
            return Applied(position, OUTCOMES[type(event)])
