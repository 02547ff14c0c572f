"""Allocations by every key that a question or a command comes with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec

from ipledger.events.facts import Address, Owner, Pod, Route
from ipledger.events.position import Position
from ipledger.projections.applications import ApplicationKey
from ipledger.projections.fixed import Place, place_of

Identity: TypeAlias = tuple[str, str]
"""Whose address it is: pod UID and interface. Invariant 8: one allocation at most."""

Attachment: TypeAlias = tuple[str, str]
"""Where it is used: CNI container id and interface."""


class Allocation(msgspec.Struct, frozen=True, gc=False):
    """One interface of one pod with its addresses.

    `since` is when it was allocated, `bound` when its last sandbox came: microseconds (Unix).
    """

    id: str
    pod: Pod
    node: str
    sandbox: str
    interface: str
    network: str
    owner: Owner | None
    slot: int
    addresses: tuple[Address, ...]
    routes: tuple[Route, ...]
    sequence: int
    index: int
    since: int
    bound: int

    @property
    def identity(self) -> Identity:
        """Pod UID and interface."""
        return self.pod.uid, self.interface

    @property
    def attachment(self) -> Attachment:
        """Sandbox and interface."""
        return self.sandbox, self.interface

    @property
    def is_held(self) -> bool:
        """Kept for the next pod in its place: no sandbox uses it."""
        return not self.sandbox

    @property
    def position(self) -> Position:
        """Where in the log it was allocated."""
        return Position(self.sequence, self.index)


class Allocations:
    """The live allocations. Every key leads to at most one (invariant 8)."""

    __slots__ = ("_by_attachment", "_by_id", "_by_place", "_by_pod")

    def __init__(self) -> None:
        self._by_id: dict[str, Allocation] = {}
        self._by_pod: dict[str, tuple[Allocation, ...]] = {}
        self._by_attachment: dict[Attachment, Allocation] = {}
        self._by_place: dict[ApplicationKey, dict[tuple[str, str], Allocation]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def all(self) -> Iterable[Allocation]:
        """In the order of their allocation."""
        return self._by_id.values()

    def get(self, allocation_id: str) -> Allocation | None:
        """The live allocation of that id."""
        return self._by_id.get(allocation_id)

    def of(self, identity: Identity) -> Allocation | None:
        """The live allocation that belongs to an identity."""
        uid, interface = identity
        for allocation in self._by_pod.get(uid, ()):
            if allocation.interface == interface:
                return allocation
        return None

    def of_pod(self, uid: str) -> tuple[Allocation, ...]:
        """The live allocations of a pod, one an interface."""
        return self._by_pod.get(uid, ())

    def at(self, attachment: Attachment) -> Allocation | None:
        """The live allocation used by an attachment."""
        return self._by_attachment.get(attachment)

    def in_place(self, place: Place, interface: str) -> Allocation | None:
        """The live allocation that belongs to a place, whichever pod has or had it."""
        return self._by_place.get(place.application, {}).get((place.name, interface))

    def of_application(self, key: ApplicationKey) -> tuple[Allocation, ...]:
        """The live allocations of all places of an application."""
        return tuple(self._by_place.get(key, {}).values())

    def add(self, allocation: Allocation) -> None:
        """Take a new allocation in."""
        self._by_id[allocation.id] = allocation
        uid = allocation.pod.uid
        self._by_pod[uid] = (*self._by_pod.get(uid, ()), allocation)
        if allocation.sandbox:
            self._by_attachment[allocation.attachment] = allocation
        place = place_of(allocation.owner, allocation.pod)
        if place is not None:
            places = self._by_place.setdefault(place.application, {})
            places[place.name, allocation.interface] = allocation

    def remove(self, allocation_id: str) -> Allocation:
        """Take an allocation out. It must be live (invariant 7)."""
        allocation = self._by_id.pop(allocation_id)
        uid = allocation.pod.uid
        rest = tuple(other for other in self._by_pod[uid] if other is not allocation)
        if rest:
            self._by_pod[uid] = rest
        else:
            del self._by_pod[uid]
        if allocation.sandbox:
            del self._by_attachment[allocation.attachment]
        place = place_of(allocation.owner, allocation.pod)
        if place is not None:
            places = self._by_place[place.application]
            del places[place.name, allocation.interface]
            if not places:
                del self._by_place[place.application]
        return allocation

    def change(self, allocation_id: str, **changes: Any) -> tuple[Allocation, Allocation]:
        """Change fields of an allocation. Returns its old and its new form."""
        old = self.remove(allocation_id)
        new = msgspec.structs.replace(old, **changes)
        self.add(new)
        return old, new
