"""Deciding a release: it names what it means, and a stale one changes nothing (idea 5)."""

from __future__ import annotations

from ipledger.engine.auto_pools import addresses_of, emptied, shed
from ipledger.engine.commands import Release, ReleaseAllocation
from ipledger.engine.importing import unknown_sandbox
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
    held = state.allocations.at((command.sandbox, command.interface))
    if held is not None:
        return _over(state, held, command) if held.node == command.node else ()
    imported = _imported(state, command)
    events = () if imported is None else _over(state, imported, command)
    return (*events, *_fence(state, command, now))


def _over(state: State, held: Allocation, command: Release) -> tuple[AnyEvent, ...]:
    """The addresses are kept for the next pod in the same place if there is one, else free."""
    place = held.place
    if place is not None and exists(place, state.applications.get(place.application)):
        return (
            AddressesHeld(
                allocation=held.id, sandbox=held.sandbox, traceparent=command.traceparent
            ),
        )
    return released(state, held, ReleaseReason.CNI_DEL, traceparent=command.traceparent)


def _imported(state: State, command: Release) -> Allocation | None:
    """What was imported for the attachment of a pod that is over, on its own node (ADR 63)."""
    if not command.ended_pod:
        return None
    found = state.allocations.at((unknown_sandbox(command.ended_pod), command.interface))
    return found if found is not None and found.node == command.node else None


def _fence(state: State, command: Release, now: int) -> tuple[AnyEvent, ...]:
    """The record of a DEL whose ADD may still be on its way, unless it is there already."""
    attachment = (command.sandbox, command.interface)
    if not command.fence or state.ended.ended_at(attachment, now) is not None:
        return ()
    return (
        AttachmentDeleted(sandbox=command.sandbox, interface=command.interface, node=command.node),
    )


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
