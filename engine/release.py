"""Deciding a release: it names what it means, and a stale one changes nothing (idea 5)."""

from __future__ import annotations

from ipledger.engine.auto_pools import addresses_of, emptied, shed
from ipledger.engine.commands import Release, ReleaseAllocation
from ipledger.engine.refusals import Reason, Refusal
from ipledger.events.types import (
    AddressesHeld,
    AddressesReleased,
    AnyEvent,
    AttachmentDeleted,
    ReleaseReason,
)
from ipledger.projections.allocations import Allocation
from ipledger.projections.fixed import exists
from ipledger.projections.state import State


def release(state: State, command: Release, now: int) -> tuple[AnyEvent, ...]:
    """A DEL: free or hold what this very sandbox has on this very node, else nothing."""
    attachment = (command.sandbox, command.interface)
    held = state.allocations.at(attachment)
    if held is not None and held.node == command.node:
        place = held.place
        if place is not None and exists(place, state.applications.get(place.application)):
            return (
                AddressesHeld(
                    allocation=held.id, sandbox=held.sandbox, traceparent=command.traceparent
                ),
            )
        return released(state, held, ReleaseReason.CNI_DEL, traceparent=command.traceparent)
    if held is None and command.fence and state.ended.ended_at(attachment, now) is None:
        return (
            AttachmentDeleted(
                sandbox=command.sandbox, interface=command.interface, node=command.node
            ),
        )
    return ()


def release_allocation(state: State, command: ReleaseAllocation) -> tuple[AnyEvent, ...] | Refusal:
    """An operator's release of one allocation that is live and still what the operator saw."""
    held = state.allocations.get(command.allocation)
    if held is None:
        message = f"no live allocation {command.allocation!r}"
        return Refusal(Reason.ALLOCATION_UNKNOWN, message, "allocation", command.allocation)
    if command.sandbox and command.sandbox != held.sandbox:
        message = f"allocation {held.id} has sandbox {held.sandbox}, not {command.sandbox}"
        return Refusal(Reason.SANDBOX_CHANGED, message, "sandbox", command.sandbox)
    return released(state, held, ReleaseReason.OPERATOR, evidence=command.evidence)


def released(
    state: State, held: Allocation, reason: str, *, evidence: str = "", traceparent: str = ""
) -> tuple[AnyEvent, ...]:
    """An allocation's release, and what its pools do then: shrink, or go with their last one."""
    leaving = addresses_of(held)
    event = AddressesReleased(
        allocation=held.id,
        sandbox=held.sandbox,
        reason=reason,
        evidence=evidence,
        traceparent=traceparent,
    )
    return (event, *shed(state, leaving), *emptied(state, leaving))
