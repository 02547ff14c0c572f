"""Deciding an ADD: the same addresses again, those of the pod's place, new ones, or why none."""

from __future__ import annotations

from ipledger.engine import pod_annotations
from ipledger.engine.choice import choose, still_candidates
from ipledger.engine.commands import Allocate, Conflict
from ipledger.engine.quarantine import conflicts_of, quarantined, without
from ipledger.engine.refusals import Reason, Refusal
from ipledger.engine.release import Cause, emptied_by, release_of, released
from ipledger.engine.routes import routes_of
from ipledger.engine.selection import Selected, select
from ipledger.engine.steps import steps_of
from ipledger.events.clock import format_time
from ipledger.events.types import (
    AddressesAllocated,
    AllocationRebound,
    AllocationRefused,
    AnyEvent,
    ReleaseReason,
)
from ipledger.projections.allocations import Allocation
from ipledger.projections.fence import FENCE_MICROS
from ipledger.projections.fixed import place_of
from ipledger.projections.state import State, refusal_key


def allocate(state: State, command: Allocate, now: int) -> tuple[AnyEvent, ...] | Refusal:
    """An ADD: the same addresses again, the same ones in a new sandbox, new ones, or a refusal."""
    if not command.pod.uid:
        message = "pod.uid: '' says nothing of whose the addresses are"
        return Refusal(Reason.BAD_REQUEST, message, "pod.uid")
    attachment = (command.sandbox, command.interface)
    ended_at = state.ended.ended_at(attachment, now)
    if ended_at is not None:
        return _attachment_ended(command, ended_at)
    user = state.allocations.at(attachment)
    if user is not None and user.pod.uid != command.pod.uid:
        message = f"sandbox {command.sandbox} is already used by pod {user.pod} ({user.pod.uid})"
        return Refusal(Reason.SANDBOX_TAKEN, message, "sandbox", command.sandbox)
    held = state.allocations.of((command.pod.uid, command.interface))
    if held is not None:
        conflicts = conflicts_of(held, command)
        if isinstance(conflicts, Refusal):
            return conflicts
        if conflicts and held.node == command.node:
            return _readdressed(state, command, held, conflicts, now)
        return _again(held, command, now)
    place = place_of(command.owner, command.pod.namespace, command.pod.name)
    kept = state.allocations.in_place(place, command.interface) if place else None
    selected = select(state, command, kept)
    if isinstance(selected, Refusal):
        return selected
    if kept is not None:
        return _in_place(state, command, selected, kept, now)
    return _new(state, command, selected, now)


def refused(state: State, command: Allocate, refusal: Refusal, now: int) -> tuple[AnyEvent, ...]:
    """The event that records a refused ADD, unless the last one recorded was just like it."""
    key = refusal_key(refusal.reason, refusal.decision)
    if state.refusals.get((command.pod.uid, command.interface)) == key:
        return ()
    return (
        AllocationRefused(
            pod=command.pod,
            node=command.node,
            sandbox=command.sandbox,
            interface=command.interface,
            reason=refusal.reason,
            message=refusal.message,
            decision=refusal.decision,
            traceparent=command.traceparent,
            steps=steps_of(command, now),
        ),
    )


def _attachment_ended(command: Allocate, ended_at: int) -> Refusal:
    message = (
        f"sandbox {command.sandbox} interface {command.interface} was deleted at "
        f"{format_time(ended_at)}; an ADD for it is refused until "
        f"{format_time(ended_at + FENCE_MICROS)}"
    )
    return Refusal(Reason.ATTACHMENT_ENDED, message, "sandbox", command.sandbox)


def _again(held: Allocation, command: Allocate, now: int) -> tuple[AnyEvent, ...] | Refusal:
    if held.node != command.node:
        message = f"pod {held.pod} has its addresses on node {held.node}, not {command.node}"
        return Refusal(Reason.OTHER_NODE, message, "node", command.node)
    if held.sandbox == command.sandbox:
        return ()
    return (
        AllocationRebound(
            allocation=held.id,
            sandbox=command.sandbox,
            traceparent=command.traceparent,
            steps=steps_of(command, now),
        ),
    )


def _in_place(
    state: State, command: Allocate, selected: Selected, kept: Allocation, now: int
) -> tuple[AnyEvent, ...] | Refusal:
    """The next pod in a place gets its addresses, on any node, while their pools serve it."""
    if still_candidates(state, command, selected, kept):
        return (
            AllocationRebound(
                allocation=kept.id,
                sandbox=command.sandbox,
                pod=command.pod,
                node=command.node,
                traceparent=command.traceparent,
                steps=steps_of(command, now),
            ),
        )
    fresh = _new(state, command, without(state, selected, kept), now)
    if isinstance(fresh, Refusal):
        return fresh
    return (*released(state, kept, Cause(ReleaseReason.POOL_CHANGED)), *fresh)


def _readdressed(
    state: State, command: Allocate, held: Allocation, conflicts: tuple[Conflict, ...], now: int
) -> tuple[AnyEvent, ...] | Refusal:
    """Other addresses in the place of those that something else answers to, in one commit.

    Its auto pools do not shrink by what leaves: the next event takes as much.
    """
    selected = select(state, command, held)
    if isinstance(selected, Refusal):
        return selected
    fresh = _new(state, command, without(state, selected, held, conflicts), now)
    if isinstance(fresh, Refusal):
        return fresh
    evidence = "; ".join(f"{c.address} is answered by {c.mac or 'somebody'}" for c in conflicts)
    cause = Cause(ReleaseReason.CONFLICT, evidence, command.traceparent)
    return (
        *quarantined(state, held, conflicts, command),
        release_of(held, cause),
        *emptied_by(state, held),
        *fresh,
    )


def _new(
    state: State, command: Allocate, selected: Selected, now: int
) -> tuple[AnyEvent, ...] | Refusal:
    routes = command.annotations.get(pod_annotations.ROUTES)
    by_pod = pod_annotations.routes(routes) if routes is not None else ()
    if isinstance(by_pod, Refusal):
        return by_pod
    choice = choose(state, command, selected)
    if isinstance(choice, Refusal):
        return choice
    return (
        *selected.events,
        AddressesAllocated(
            allocation=f"a{state.allocated_ever + 1}",
            pod=command.pod,
            node=command.node,
            sandbox=command.sandbox,
            interface=command.interface,
            network=command.network,
            owner=command.owner,
            slot=selected.slot,
            addresses=choice.addresses,
            routes=routes_of(choice.pools, by_pod, clean_gateway=selected.clean_gateway),
            decision=choice.decision,
            traceparent=command.traceparent,
            steps=steps_of(command, now),
        ),
    )
