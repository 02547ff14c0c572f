"""Allocations by every key that a question or a command comes with.

There may be a million of them, so each is held in few words (ADR 30): what the pods of a workload
have in common is kept once, addresses are integers, and a key that mostly leads to one allocation
leads to it without a tuple between.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import msgspec

from ipledger.events.addresses import format_ip
from ipledger.events.facts import Address, Owner, Pod, Route
from ipledger.events.position import Position
from ipledger.projections.applications import ApplicationKey
from ipledger.projections.fixed import KINDS, Place, place_of

_NUMBER_MAX = 2**63 - 1

Identity: TypeAlias = tuple[str, str]
"""Whose address it is: pod UID and interface. Invariant 8: one allocation at most."""

Attachment: TypeAlias = tuple[str, str]
"""Where it is used: CNI container id and interface."""


class Common(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """What the allocations for an interface of a workload's pods have in common."""

    namespace: str
    owner: Owner | None
    interface: str
    network: str
    slot: int
    routes: tuple[Route, ...]


class Terms(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """How a pool gives its addresses. They stay with an address though the pool changes."""

    pool: str
    ip_version: int
    prefix_length: int
    gateway: str


class HeldAddress(msgspec.Struct, frozen=True, gc=False):
    """One address of an allocation: the integer `value`, and the terms it was given on."""

    terms: Terms
    value: int

    @property
    def pool(self) -> str:
        """The name of its pool."""
        return self.terms.pool

    @property
    def ip(self) -> str:
        """The address without its prefix length."""
        return format_ip(self.terms.ip_version, self.value)

    def fact(self) -> Address:
        """The address as events and rows have it."""
        terms = self.terms
        text = f"{format_ip(terms.ip_version, self.value)}/{terms.prefix_length}"
        return Address(terms.pool, text, terms.gateway)


class Allocation(msgspec.Struct, frozen=True, gc=False):
    """One interface of one pod with its addresses.

    It was the realm's `number`-th, at `sequence` and `index` of the log. `since` is when, and
    `bound` when its last sandbox came, in microseconds (Unix).
    """

    number: int
    pod_name: str
    pod_uid: str
    node: str
    sandbox: str
    common: Common
    addresses: tuple[HeldAddress, ...]
    sequence: int
    index: int
    since: int
    bound: int

    @property
    def id(self) -> str:
        """Its id: `a` and the number (ADR 2)."""
        return f"a{self.number}"

    @property
    def pod(self) -> Pod:
        """The pod that has it, or had it last."""
        return Pod(self.common.namespace, self.pod_name, self.pod_uid)

    @property
    def owner(self) -> Owner | None:
        """The top controller of the pod."""
        return self.common.owner

    @property
    def interface(self) -> str:
        """The name of the interface."""
        return self.common.interface

    @property
    def network(self) -> str:
        """The name of the CNI network."""
        return self.common.network

    @property
    def slot(self) -> int:
        """Which item of an `ippools` annotation it has claimed, or -1."""
        return self.common.slot

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes of the interface."""
        return self.common.routes

    @property
    def identity(self) -> Identity:
        """Pod UID and interface."""
        return self.pod_uid, self.common.interface

    @property
    def attachment(self) -> Attachment:
        """Sandbox and interface."""
        return self.sandbox, self.common.interface

    @property
    def place(self) -> Place | None:
        """The place that keeps its addresses between pods, if there is one."""
        if not _may_have_place(self):
            return None
        return place_of(self.common.owner, self.common.namespace, self.pod_name)

    @property
    def is_held(self) -> bool:
        """Kept for the next pod in its place: no sandbox uses it."""
        return not self.sandbox

    @property
    def position(self) -> Position:
        """Where in the log it was allocated."""
        return Position(self.sequence, self.index)


def _may_have_place(allocation: Allocation) -> bool:
    """Most pods have none; this says so at little cost."""
    owner = allocation.common.owner
    return owner is not None and owner.kind in KINDS


def number_of(allocation_id: str) -> int:
    """The number in an id that an engine has given. Raises `ValueError` if it has none."""
    number = int(allocation_id[1:])
    if number > _NUMBER_MAX:
        raise ValueError("the number of an allocation has at most 63 bits")
    return number


class Interfaces:
    """Allocations by a text that the interfaces of one pod share: its UID, or its sandbox.

    Most pods have one interface, and lead to their allocation itself.
    """

    __slots__ = ("_of",)

    def __init__(self) -> None:
        self._of: dict[str, Allocation | tuple[Allocation, ...]] = {}

    def all(self, key: str) -> tuple[Allocation, ...]:
        """Those of a key, in the order of their allocation."""
        found = self._of.get(key)
        if found is None:
            return ()
        return found if isinstance(found, tuple) else (found,)

    def get(self, key: str, interface: str) -> Allocation | None:
        """The one of an interface."""
        found = self._of.get(key)
        if found is None:
            return None
        if isinstance(found, tuple):
            return next((a for a in found if a.common.interface == interface), None)
        return found if found.common.interface == interface else None

    def add(self, key: str, allocation: Allocation) -> None:
        """Take a new allocation in."""
        if self._of.setdefault(key, allocation) is not allocation:
            self._join(key, allocation)

    def _join(self, key: str, allocation: Allocation) -> None:
        together = (*self.all(key), allocation)
        self._of[key] = tuple(sorted(together, key=lambda a: a.number))

    def fill(self, keys: Sequence[str], allocations: Sequence[Allocation]) -> None:
        """Take all in that there are: as `add` does one by one, and much quicker."""
        self._of.update(zip(keys, allocations, strict=True))
        if len(self._of) < len(keys):
            self._of.clear()
            for key, allocation in zip(keys, allocations, strict=True):
                self.add(key, allocation)

    def replace(self, key: str, old: Allocation, new: Allocation) -> None:
        """Put the new form of an allocation that is in where its old one was."""
        found = self._of[key]
        if found is old:
            self._of[key] = new
        else:
            assert isinstance(found, tuple)
            self._of[key] = tuple(new if a is old else a for a in found)

    def remove(self, key: str, allocation: Allocation) -> None:
        """Take an allocation out that is in."""
        found = self._of.pop(key)
        if found is not allocation:
            assert isinstance(found, tuple)
            rest = tuple(a for a in found if a is not allocation)
            self._of[key] = rest[0] if len(rest) == 1 else rest


class Allocations:
    """The live allocations. Every key leads to at most one (invariant 8)."""

    __slots__ = ("_by_number", "_by_place", "_of_pod", "_of_sandbox")

    def __init__(self) -> None:
        self._by_number: dict[int, Allocation] = {}
        self._of_pod = Interfaces()
        self._of_sandbox = Interfaces()
        self._by_place: dict[ApplicationKey, dict[tuple[str, str], Allocation]] = {}

    def __len__(self) -> int:
        return len(self._by_number)

    def all(self) -> Iterable[Allocation]:
        """In the order of their allocation."""
        return self._by_number.values()

    def get(self, allocation_id: str) -> Allocation | None:
        """The live allocation of that id; any text may be asked for."""
        try:
            found = self._by_number.get(number_of(allocation_id))
        except ValueError:
            return None
        return found if found is not None and found.id == allocation_id else None

    def of(self, identity: Identity) -> Allocation | None:
        """The live allocation that belongs to an identity."""
        uid, interface = identity
        return self._of_pod.get(uid, interface)

    def of_pod(self, uid: str) -> tuple[Allocation, ...]:
        """The live allocations of a pod, one an interface."""
        return self._of_pod.all(uid)

    def at(self, attachment: Attachment) -> Allocation | None:
        """The live allocation used by an attachment."""
        sandbox, interface = attachment
        return self._of_sandbox.get(sandbox, interface)

    def in_place(self, place: Place, interface: str) -> Allocation | None:
        """The live allocation that belongs to a place, whichever pod has or had it."""
        return self._by_place.get(place.application, {}).get((place.name, interface))

    def of_application(self, key: ApplicationKey) -> tuple[Allocation, ...]:
        """The live allocations of all places of an application, in the order of allocation."""
        return tuple(sorted(self._by_place.get(key, {}).values(), key=lambda a: a.number))

    def add(self, allocation: Allocation) -> None:
        """Take a new allocation in."""
        self._by_number[allocation.number] = allocation
        self._link(allocation)

    def restore(self, allocations: Iterable[Allocation]) -> None:
        """Take in some of those that there were, in their order, before `index`."""
        self._by_number.update((a.number, a) for a in allocations)

    def index(self) -> None:
        """Make every other key lead to what was restored."""
        every = list(self._by_number.values())
        attached = [a for a in every if a.sandbox]
        self._of_pod.fill([a.pod_uid for a in every], every)
        self._of_sandbox.fill([a.sandbox for a in attached], attached)
        for allocation in filter(_may_have_place, every):
            self._link_place(allocation)

    def remove(self, allocation_id: str) -> Allocation:
        """Take an allocation out. It must be live (invariant 7)."""
        allocation = self._by_number.pop(number_of(allocation_id))
        self._unlink(allocation)
        return allocation

    def hold(self, allocation_id: str) -> tuple[Allocation, Allocation]:
        """No sandbox uses it from here on. Returns its old and its new form."""
        old = self._by_number[number_of(allocation_id)]
        return self._change(old, old.pod_name, old.pod_uid, old.node, "", old.bound)

    def move(self, allocation_id: str, sandbox: str, now: int) -> tuple[Allocation, Allocation]:
        """Another sandbox uses it from here on. Returns its old and its new form."""
        old = self._by_number[number_of(allocation_id)]
        return self._change(old, old.pod_name, old.pod_uid, old.node, sandbox, now)

    def pass_on(
        self, allocation_id: str, sandbox: str, pod: Pod, node: str, now: int
    ) -> tuple[Allocation, Allocation]:
        """Another pod has it from here on. Returns its old and its new form."""
        old = self._by_number[number_of(allocation_id)]
        return self._change(old, pod.name, pod.uid, node, sandbox, now)

    def _change(
        self, old: Allocation, pod_name: str, pod_uid: str, node: str, sandbox: str, bound: int
    ) -> tuple[Allocation, Allocation]:
        new = Allocation(
            old.number,
            pod_name,
            pod_uid,
            node,
            sandbox,
            old.common,
            old.addresses,
            old.sequence,
            old.index,
            old.since,
            bound,
        )
        self._by_number[old.number] = new
        if old.pod_uid == pod_uid:
            self._of_pod.replace(pod_uid, old, new)
        else:
            self._of_pod.remove(old.pod_uid, old)
            self._of_pod.add(pod_uid, new)
        if old.sandbox:
            self._of_sandbox.remove(old.sandbox, old)
        if sandbox:
            self._of_sandbox.add(sandbox, new)
        if _may_have_place(old):
            self._unlink_place(old)
            self._link_place(new)
        return old, new

    def _link(self, allocation: Allocation) -> None:
        self._of_pod.add(allocation.pod_uid, allocation)
        if allocation.sandbox:
            self._of_sandbox.add(allocation.sandbox, allocation)
        if _may_have_place(allocation):
            self._link_place(allocation)

    def _link_place(self, allocation: Allocation) -> None:
        place = allocation.place
        if place is not None:
            places = self._by_place.setdefault(place.application, {})
            places[place.name, allocation.interface] = allocation

    def _unlink(self, allocation: Allocation) -> None:
        self._of_pod.remove(allocation.pod_uid, allocation)
        if allocation.sandbox:
            self._of_sandbox.remove(allocation.sandbox, allocation)
        if _may_have_place(allocation):
            self._unlink_place(allocation)

    def _unlink_place(self, allocation: Allocation) -> None:
        place = allocation.place
        if place is not None:
            places = self._by_place[place.application]
            del places[place.name, allocation.interface]
            if not places:
                del self._by_place[place.application]
