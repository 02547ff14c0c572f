"""The steps of a pod's ADD and DEL with their times, from the log alone.

A command brings the times that its node took, the event has them and the engine's, and the commit
behind tells how long this one took (ADR 84). The steps are in the order in which they happen by
nature: two machines' clocks are compared for how long, never for which was first.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple, TypeAlias

import msgspec

from ipledger.events.clock import parse_time
from ipledger.events.commit import Took
from ipledger.events.facts import Address
from ipledger.events.position import START, Position
from ipledger.events.traceparent import trace_id
from ipledger.events.types import (
    AddressesAllocated,
    AddressesHeld,
    AddressesReleased,
    AllocationImported,
    AllocationRebound,
    AllocationRefused,
    AnyEvent,
    Step,
)
from ipledger.replay.log import LoggedEvent
from ipledger.replay.past import Past
from ipledger.replay.touching import touching

NODE, ENGINE, BOTH = "node", "engine", "both"
"""Whose clock a step was taken by."""

_Begins: TypeAlias = AddressesAllocated | AllocationRebound | AllocationRefused | AllocationImported
_Ends: TypeAlias = AddressesHeld | AddressesReleased


class StepTaken(msgspec.Struct, frozen=True, rename="camel"):
    """A step of a trace: how long after the first one it began, and how long it took.

    Both are in microseconds; None is not known, or not yet.
    """

    step: str
    clock: str
    offset_micros: int
    took_micros: int | None


class Traced(msgspec.Struct, frozen=True, rename="camel"):
    """An event of a pod's interface, and the steps that led to it. Its keys are a contract.

    `trace_id` is '' where no trace context came with the command. `commit_events` is how many
    events the commit has: they were decided and stored together. `clocks_differ_micros` is by how
    much the engine's clock is behind the node's at least; the steps are moved by that.
    """

    position: str
    time: str
    event: str
    pod: str
    interface: str
    node: str
    allocation: str
    addresses: tuple[Address, ...]
    reason: str
    trace_id: str
    traceparent: str
    commit_events: int
    steps: tuple[StepTaken, ...]
    clocks_differ_micros: int = 0


async def traced(past: Past, pod: str, until: Position, interface: str = "") -> list[Traced]:
    """The last ADD of each interface of a pod up to a position, and the DEL behind it.

    `pod` is namespace/name; with `interface`, only that one.
    """
    last: dict[str, list[LoggedEvent]] = {}
    subjects: dict[str, _Subject] = {}
    async for logged in past.events(await touching(past, "pod", pod, START, until)):
        subject = _subject(logged.event, subjects)
        if subject is not None:
            kept = last.get(subject.interface, ())
            begun = [] if isinstance(logged.event, _Begins) else [*kept][:1]
            last[subject.interface] = [*begun, logged]
    return [
        await _traced(past, one, subjects)
        for name, some in last.items()
        for one in some
        if interface in ("", name)
    ]


class _Subject(NamedTuple):
    """Whom an event is about."""

    pod: str
    interface: str
    node: str
    addresses: tuple[Address, ...] = ()


def _subject(event: AnyEvent, known: dict[str, _Subject]) -> _Subject | None:
    """Whom an event is about; None if it neither begins nor ends anything."""
    match event:
        case AddressesAllocated() | AllocationImported():
            subject = _Subject(str(event.pod), event.interface, event.node, event.addresses)
            known[event.allocation] = subject
            return subject
        case AllocationRebound():
            subject = known[event.allocation]
            if event.pod is not None:
                subject = subject._replace(pod=str(event.pod), node=event.node)
            known[event.allocation] = subject
            return subject
        case AllocationRefused():
            return _Subject(str(event.pod), event.interface, event.node)
        case AddressesHeld() | AddressesReleased():
            return known[event.allocation]
        case _:
            return None


async def _traced(past: Past, logged: LoggedEvent, subjects: dict[str, _Subject]) -> Traced:
    event = logged.event
    assert isinstance(event, _Begins | _Ends)
    subject = _subject(event, subjects)
    assert subject is not None
    commit = await past.commit(logged.position.sequence)
    behind = await past.commit(logged.position.sequence + 1)
    assert commit is not None, "it was read before"
    steps, shift = waterfall(event, parse_time(logged.time), behind.prev_took if behind else None)
    return Traced(
        position=str(logged.position),
        time=logged.time,
        event=type(event).__name__,
        pod=subject.pod,
        interface=subject.interface,
        node=subject.node,
        allocation=getattr(event, "allocation", ""),
        addresses=subject.addresses,
        reason=getattr(event, "reason", ""),
        trace_id=trace_id(event.traceparent),
        traceparent=event.traceparent,
        commit_events=len(commit.events),
        steps=steps,
        clocks_differ_micros=shift,
    )


class _Mark(NamedTuple):
    """When a step began, by whose clock."""

    step: str
    clock: str
    at: int


_MARKS = (
    (Step.SHIM, "shim", NODE),
    (Step.AGENT, "agent", NODE),
    (Step.SENT, "nats", BOTH),
    (Step.RECEIVED, "queue", ENGINE),
)


def waterfall(event: AnyEvent, time: int, took: Took | None) -> tuple[tuple[StepTaken, ...], int]:
    """The steps, and by how much those of the engine had to be moved."""
    times: dict[str, int] = getattr(event, "steps", {})
    marks = [_Mark(step, clock, times[name]) for name, step, clock in _MARKS if name in times]
    marks.append(_Mark("decide", ENGINE, time))
    if took is not None:
        marks.append(_Mark("commit", ENGINE, time + took.decided))
        marks.append(_Mark("answer", ENGINE, time + took.stored))
    sent = max((mark.at for mark in marks if mark.clock != ENGINE), default=0)
    shift = max(0, sent - min(mark.at for mark in marks if mark.clock == ENGINE))
    moved = [m._replace(at=m.at + shift) if m.clock == ENGINE else m for m in marks]
    ends = [*(after.at for _, after in pairwise(moved)), None]
    first = moved[0].at
    return tuple(
        StepTaken(m.step, m.clock, m.at - first, None if end is None else end - m.at)
        for m, end in zip(moved, ends, strict=True)
    ), shift
