"""Deciding a release: it names what it means, and a stale one changes nothing (idea 5)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ipledger.engine.auto_pools import Leaving, addresses_of, emptied, shed
from ipledger.engine.commands import Release, ReleaseAllocation, RetainAttachments
from ipledger.engine.importing import unknown_sandbox
from ipledger.engine.refusals import Reason, Refusal
from ipledger.engine.steps import steps_of
from ipledger.events.types import (
    AddressesHeld,
    AddressesReleased,
    AnyEvent,
    AttachmentDeleted,
    ReleaseReason,
)
from ipledger.projections.allocations import Allocation
from ipledger.projections.fence import FENCE_MICROS
from ipledger.projections.fixed import exists
from ipledger.projections.state import State

LISTED_WITHIN_MICROS = FENCE_MICROS
"""How old a runtime's list of attachments may be: an attachment that came later is not on it."""


class Cause(msgspec.Struct, frozen=True):
    """Why an allocation ends, as its event tells it: see `AddressesReleased`."""

    reason: str
    evidence: str = ""
    traceparent: str = ""
    steps: dict[str, int] = {}


def release(state: State, command: Release, now: int) -> tuple[AnyEvent, ...]:
    """A DEL: free or hold what this very sandbox has on this very node, else nothing."""
    held = state.allocations.at((command.sandbox, command.interface))
    if held is not None:
        return _over(state, held, command, now) if held.node == command.node else ()
    imported = _imported(state, command)
    events = () if imported is None else _over(state, imported, command, now)
    return (*events, *_fence(state, command, now))


def _over(state: State, held: Allocation, command: Release, now: int) -> tuple[AnyEvent, ...]:
    steps = steps_of(command, now)
    cause = Cause(ReleaseReason.CNI_DEL, traceparent=command.traceparent, steps=steps)
    return _detached(state, (held,), cause)


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


def retain_attachments(
    state: State, command: RetainAttachments, now: int
) -> tuple[AnyEvent, ...] | Refusal:
    """A GC: a DEL for each attachment of this node that its runtime does not list.

    One that is younger than `LISTED_WITHIN_MICROS` may have come behind the list: the next GC
    finds it.
    """
    listed = {(item.sandbox, item.interface) for item in command.attachments}
    stale = [
        allocation
        for allocation in state.allocations.all()
        if allocation.node == command.node
        and allocation.network == command.network
        and allocation.sandbox
        and allocation.attachment not in listed
        and allocation.bound <= now - LISTED_WITHIN_MICROS
    ]
    evidence = f"not among the {len(listed)} attachments to {command.network!r} on {command.node}"
    steps = steps_of(command, now)
    return _detached(
        state, stale, Cause(ReleaseReason.CNI_GC, evidence, command.traceparent, steps)
    )


def release_allocation(state: State, command: ReleaseAllocation) -> tuple[AnyEvent, ...] | Refusal:
    """The release of one allocation that is live and still what the releaser saw."""
    by_collector = command.reason == ReleaseReason.GC
    if by_collector and (command.uid is None or command.sandbox is None or not command.evidence):
        message = "reason: 'gc' needs uid, sandbox and evidence"
        return Refusal(Reason.BAD_REQUEST, message, "reason", command.reason)
    held = state.allocations.get(command.allocation)
    if held is None:
        message = f"no live allocation {command.allocation!r}"
        return Refusal(Reason.ALLOCATION_UNKNOWN, message, "allocation", command.allocation)
    changed = _changed(held, command)
    if changed is not None:
        return changed
    if by_collector and _has_place(state, held):
        message = f"allocation {held.id} is kept for the next pod {held.pod}"
        return Refusal(Reason.PLACE_EXISTS, message, "allocation", held.id)
    return released(state, held, Cause(command.reason, command.evidence, command.traceparent))


def released(state: State, held: Allocation, cause: Cause) -> tuple[AnyEvent, ...]:
    """An allocation's release, and what its pools do then: shrink, or go with their last one."""
    return (release_of(held, cause), *_pools_without(state, (held,)))


def _changed(held: Allocation, command: ReleaseAllocation) -> Refusal | None:
    if command.uid is not None and command.uid != held.pod.uid:
        message = f"allocation {held.id} belongs to pod {held.pod.uid}, not {command.uid}"
        return Refusal(Reason.POD_CHANGED, message, "uid", command.uid)
    if command.sandbox is not None and command.sandbox != held.sandbox:
        has = f"sandbox {held.sandbox}" if held.sandbox else "no sandbox"
        message = f"allocation {held.id} has {has}, not {command.sandbox or 'none'}"
        return Refusal(Reason.SANDBOX_CHANGED, message, "sandbox", command.sandbox)
    return None


def _detached(state: State, ended: Iterable[Allocation], cause: Cause) -> tuple[AnyEvent, ...]:
    """The ends of attachments: held where there is a place for the next pod, else released."""
    events: list[AnyEvent] = []
    leaving: list[Allocation] = []
    for held in ended:
        if _has_place(state, held):
            events.append(
                AddressesHeld(
                    allocation=held.id,
                    sandbox=held.sandbox,
                    traceparent=cause.traceparent,
                    steps=cause.steps,
                )
            )
        else:
            leaving.append(held)
            events.append(release_of(held, cause))
    return (*events, *_pools_without(state, leaving))


def release_of(held: Allocation, cause: Cause) -> AddressesReleased:
    """The release of an allocation, alone."""
    return AddressesReleased(
        allocation=held.id,
        sandbox=held.sandbox,
        reason=cause.reason,
        evidence=cause.evidence,
        traceparent=cause.traceparent,
        steps=cause.steps,
    )


def _has_place(state: State, held: Allocation) -> bool:
    place = held.place
    return place is not None and exists(place, state.applications.get(place.application))


def emptied_by(state: State, gone: Allocation) -> Iterable[AnyEvent]:
    """The ends of terminating pools whose last allocation this is."""
    return emptied(state, addresses_of(gone))


def _pools_without(state: State, gone: Iterable[Allocation]) -> tuple[AnyEvent, ...]:
    """What pools do when allocations leave: shrink, or go with their last one."""
    leaving: dict[str, list[int]] = {}
    for allocation in gone:
        for pool, addresses in addresses_of(allocation).items():
            leaving.setdefault(pool, []).extend(addresses)
    left: Leaving = leaving
    return (*shed(state, left), *emptied(state, left))
