"""The history: who held which address from when to when, and which events touched what.

A projection whose content is rows: `Rows` says what each commit adds and changes, and
`replay/history_store.py` keeps that in SQLite. An interval is an address in the hands of one pod:
it begins when the pod gets the address and ends when another one does, or nobody; while it is
kept for the next pod in its place it is an interval of its own, `held`, of the pod that had it.
Times are microseconds (Unix), positions `Position.number`. Both ends: from is in, to is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import msgspec

from ipledger.events.facts import Pod
from ipledger.events.position import Position
from ipledger.events.types import (
    AddressesAllocated,
    AddressesHeld,
    AddressesReleased,
    AddressQuarantined,
    AddressRestored,
    AllocationImported,
    AllocationRebound,
    AllocationRefused,
    AnyEvent,
    AttachmentDeleted,
    Event,
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
from ipledger.projections.allocations import number_of


class Interval(msgspec.Struct, array_like=True, gc=False):
    """A row of `intervals`. `to_position` and `to_time` are None while it lasts."""

    id: int
    address: str
    pool: str
    allocation: int
    namespace: str
    pod: str
    uid: str
    interface: str
    node: str
    held: bool
    from_position: int
    from_time: int
    to_position: int | None = None
    to_time: int | None = None

    def row(self) -> tuple[object, ...]:
        """Its columns."""
        return msgspec.structs.astuple(self)


EventRow: TypeAlias = tuple[int, str, int | None]
"""A row of `events`: position, type, and the number of the allocation that it is about."""

TouchRow: TypeAlias = tuple[str, str, int]
"""A row of `touches`: kind and name of what an event without an allocation is about, position."""

ClosedRow: TypeAlias = tuple[int, int, int]
"""The end of an interval that was written before: position, time, id."""


CommitRow: TypeAlias = tuple[int, int, int, bytes]
"""A row of `commits`: sequence, time, events of the log up to its end, hash."""


class Changes(msgspec.Struct):
    """What some commits do to the rows."""

    commits: list[CommitRow] = []
    events: list[EventRow] = []
    touches: list[TouchRow] = []
    opened: list[Interval] = []
    closed: list[ClosedRow] = []


class Rows:
    """Makes rows of commits, in order. `next_id` is that of the next interval, `events` how many
    events there were.

    It knows the open intervals of the allocations that it met; those of allocations that were made
    before are given to it with `know`, before an event about one of them comes.
    """

    def __init__(self, next_id: int = 1, events: int = 0) -> None:
        self.next_id = next_id
        self.events = events
        self._open: dict[int, list[Interval]] = {}
        self._changes = Changes()
        self._unwritten = next_id

    def unknown(self, events: Iterable[AnyEvent]) -> Iterator[int]:
        """The allocations whose open intervals must be known before these events."""
        made: dict[str, None] = {}
        for event in events:
            match event:
                case AddressesAllocated() | AllocationImported():
                    made[event.allocation] = None
                case AllocationRebound() | AddressesHeld() | AddressesReleased():
                    if event.allocation not in made:
                        number = number_of(event.allocation)
                        if number not in self._open:
                            yield number
                case _:
                    pass

    def know(self, intervals: Iterable[Interval]) -> None:
        """Take in open intervals as they were written."""
        for interval in intervals:
            self._open.setdefault(interval.allocation, []).append(interval)

    @property
    def waiting(self) -> int:
        """How many events `take` would give."""
        return len(self._changes.events)

    def enter(self, sequence: int, time: int, hashed: bytes, events: Sequence[AnyEvent]) -> None:
        """Take in the next commit. Raises `LookupError` on one that contradicts the rows."""
        position = Position(sequence, 0).number
        add, about = self._changes.events.append, _ABOUT
        for event in events:
            kind = type(event)
            make = about.get(kind)
            allocation = make(self, event, position, time) if make is not None else None
            add((position, kind.__name__, allocation))
            position += 1
        self.events += len(events)
        self._changes.commits.append((sequence, time, self.events, hashed))

    def take(self) -> Changes:
        """What is to be written since the last time."""
        taken, self._changes = self._changes, Changes()
        self._unwritten = self.next_id
        return taken

    def open_interval(
        self, like: Interval, pod: Pod, node: str, held: bool, position: int, time: int
    ) -> None:
        """Begin an interval of the address of another one."""
        self._begin(
            Interval(
                self.next_id,
                like.address,
                like.pool,
                like.allocation,
                pod.namespace,
                pod.name,
                pod.uid,
                like.interface,
                node,
                held,
                position,
                time,
            )
        )

    def _begin(self, interval: Interval) -> None:
        self.next_id += 1
        self._open.setdefault(interval.allocation, []).append(interval)
        self._changes.opened.append(interval)

    def allocated(
        self, event: AddressesAllocated | AllocationImported, position: int, time: int
    ) -> int:
        """A pod got addresses."""
        number, pod = number_of(event.allocation), event.pod
        for held in event.addresses:
            self._begin(
                Interval(
                    self.next_id,
                    held.ip,
                    held.pool,
                    number,
                    pod.namespace,
                    pod.name,
                    pod.uid,
                    event.interface,
                    event.node,
                    not event.sandbox,
                    position,
                    time,
                )
            )
        return number

    def close(self, number: int, position: int, time: int) -> list[Interval]:
        """End the open intervals of an allocation."""
        intervals = self._open.pop(number)
        for interval in intervals:
            interval.to_position, interval.to_time = position, time
            if interval.id < self._unwritten:
                self._changes.closed.append((position, time, interval.id))
        return intervals

    def passed_on(
        self, number: int, pod: Pod | None, node: str, held: bool, position: int, time: int
    ) -> None:
        """The addresses are another pod's from here on, or held, or no longer held."""
        before = self._open[number][0]
        if pod is None and held == before.held:
            return  # another sandbox of the same pod
        for interval in self.close(number, position, time):
            holder = pod or Pod(interval.namespace, interval.pod, interval.uid)
            self.open_interval(interval, holder, node or interval.node, held, position, time)

    def touch(self, kind: str, name: str, position: int) -> None:
        """An event is about something other than an allocation."""
        if name:
            self._changes.touches.append((kind, name, position))


def _allocated(
    rows: Rows, event: AddressesAllocated | AllocationImported, position: int, time: int
) -> int:
    return rows.allocated(event, position, time)


def _rebound(rows: Rows, event: AllocationRebound, position: int, time: int) -> int:
    number = number_of(event.allocation)
    rows.passed_on(number, event.pod, event.node, False, position, time)
    return number


def _held(rows: Rows, event: AddressesHeld, position: int, time: int) -> int:
    number = number_of(event.allocation)
    rows.passed_on(number, None, "", True, position, time)
    return number


def _released(rows: Rows, event: AddressesReleased, position: int, time: int) -> int:
    number = number_of(event.allocation)
    rows.close(number, position, time)
    return number


def _refused(rows: Rows, event: AllocationRefused, position: int, time: int) -> None:
    rows.touch("pod", str(event.pod), position)
    rows.touch("identity", f"{event.pod.uid}/{event.interface}", position)
    rows.touch("node", event.node, position)
    for name in sorted({candidate.pool for candidate in event.decision}):
        rows.touch("pool", name, position)


def _attachment(rows: Rows, event: AttachmentDeleted, position: int, time: int) -> None:
    rows.touch("node", event.node, position)


def _resource(kind: str) -> Callable[[Rows, Any, int, int], None]:
    def changed(rows: Rows, event: Any, position: int, time: int) -> None:
        spec = getattr(event, kind, None)
        rows.touch(kind, spec.name if spec is not None else event.name, position)

    return changed


def _quarantine(
    rows: Rows, event: AddressQuarantined | AddressRestored, position: int, time: int
) -> None:
    rows.touch("ip", event.address, position)
    rows.touch("node", getattr(event, "node", ""), position)


_ABOUT: dict[type[Event], Callable[[Rows, Any, int, int], int | None]] = {
    AddressesAllocated: _allocated,
    AllocationImported: _allocated,
    AllocationRebound: _rebound,
    AddressesHeld: _held,
    AddressesReleased: _released,
    AllocationRefused: _refused,
    AttachmentDeleted: _attachment,
    AddressQuarantined: _quarantine,
    AddressRestored: _quarantine,
    **dict.fromkeys((PoolCreated, PoolUpdated, PoolTerminating, PoolDeleted), _resource("pool")),
    **dict.fromkeys((SubnetCreated, SubnetUpdated, SubnetDeleted), _resource("subnet")),
    **dict.fromkeys(
        (ReservationCreated, ReservationUpdated, ReservationDeleted), _resource("reservation")
    ),
}
