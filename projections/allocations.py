"""Allocations by every key that a question or a command comes with.

There may be a million of them, so each is held in few words (ADR 30): what the pods of a workload
have in common is kept once, addresses are integers, and a key that mostly leads to one allocation
leads to it without a tuple between.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import TypeAlias

import msgspec

from ipledger.events.addresses import format_ip
from ipledger.events.facts import Address, Owner, Pod, Route
from ipledger.events.position import Position
from ipledger.projections.applications import ApplicationKey
from ipledger.projections.fixed import KINDS, Place, keeper_of, name_in
from ipledger.projections.numbers import enter, index_of, numbers_of, strike

_NUMBER_MAX = 2**63 - 1

Identity: TypeAlias = tuple[str, str]
"""Whose address it is: pod UID and interface. Invariant 8: one allocation at most."""

Attachment: TypeAlias = tuple[str, str]
"""Where it is used: CNI container id and interface."""


KEEPERS_MAX = 16_384
"""How many workloads with fixed addresses are known without looking again."""


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
        keeper = _keeper(self.common)
        return None if keeper is None else Place(keeper, name_in(keeper, self.pod_name))

    @property
    def is_held(self) -> bool:
        """Kept for the next pod in its place: no sandbox uses it."""
        return not self.sandbox

    @property
    def position(self) -> Position:
        """Where in the log it was allocated."""
        return Position(self.sequence, self.index)


def _keeper(common: Common) -> ApplicationKey | None:
    """The application that keeps addresses for the pods; most pods have none."""
    owner = common.owner
    return _keeper_of(common) if owner is not None and owner.kind in KINDS else None


@lru_cache(maxsize=KEEPERS_MAX)
def _keeper_of(common: Common) -> ApplicationKey | None:
    return keeper_of(common.owner, common.namespace)


def number_of(allocation_id: str) -> int:
    """The number in an id that an engine has given. Raises `ValueError` if it has none."""
    number = int(allocation_id[1:])
    if number > _NUMBER_MAX:
        raise ValueError("the number of an allocation has at most 63 bits")
    return number


class _Keys:
    """Pods, sandboxes and places, and the numbers of the allocations that they lead to."""

    __slots__ = ("by_place", "of_pod", "of_sandbox")

    def __init__(self, allocations: Collection[Allocation]) -> None:
        attached = [a for a in allocations if a.sandbox]
        self.of_pod = index_of([a.pod_uid for a in allocations], [a.number for a in allocations])
        if len(self.of_pod) < len(allocations):
            identities = {a.identity for a in allocations}
            assert len(identities) == len(allocations), "invariant 8"
        self.of_sandbox = index_of([a.sandbox for a in attached], [a.number for a in attached])
        self.by_place: dict[ApplicationKey, dict[tuple[str, str], int]] = {}
        for allocation in allocations:
            self._enter_place(allocation)

    def enter(self, allocation: Allocation) -> None:
        """Lead to an allocation."""
        enter(self.of_pod, allocation.pod_uid, allocation.number)
        if allocation.sandbox:
            enter(self.of_sandbox, allocation.sandbox, allocation.number)
        self._enter_place(allocation)

    def leave(self, allocation: Allocation) -> None:
        """Lead to it no more."""
        strike(self.of_pod, allocation.pod_uid, allocation.number)
        if allocation.sandbox:
            strike(self.of_sandbox, allocation.sandbox, allocation.number)
        self._leave_place(allocation)

    def change(self, old: Allocation, new: Allocation) -> None:
        """It has another form."""
        if old.sandbox:
            strike(self.of_sandbox, old.sandbox, old.number)
        if new.sandbox:
            enter(self.of_sandbox, new.sandbox, new.number)
        if new.pod_uid != old.pod_uid:
            strike(self.of_pod, old.pod_uid, old.number)
            enter(self.of_pod, new.pod_uid, new.number)
        if new.pod_name != old.pod_name:
            self._leave_place(old)
            self._enter_place(new)

    def _enter_place(self, allocation: Allocation) -> None:
        keeper = _keeper(allocation.common)
        if keeper is not None:
            name = name_in(keeper, allocation.pod_name)
            places = self.by_place.setdefault(keeper, {})
            places[name, allocation.common.interface] = allocation.number

    def _leave_place(self, allocation: Allocation) -> None:
        keeper = _keeper(allocation.common)
        if keeper is None:
            return
        name = name_in(keeper, allocation.pod_name)
        places = self.by_place[keeper]
        del places[name, allocation.common.interface]
        if not places:
            del self.by_place[keeper]


class Allocations:
    """The live allocations. Every key leads to at most one (invariant 8).

    All keys lead to an allocation by its number, which stays the same when the allocation takes a
    new form. The other keys are made when one is asked for first, so that a fold of which only the
    outcome is wanted does without them (ADR 100); who decides asks for each.
    """

    __slots__ = ("_by_number", "_keys")

    def __init__(self) -> None:
        self._by_number: dict[int, Allocation] = {}
        self._keys: _Keys | None = None

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

    def numbered(self, number: int) -> Allocation:
        """The live allocation of a number that a pool has as taken."""
        return self._by_number[number]

    def of(self, identity: Identity) -> Allocation | None:
        """The live allocation that belongs to an identity."""
        uid, interface = identity
        return self._of_interface(self.keys.of_pod.get(uid), interface)

    def of_pod(self, uid: str) -> tuple[Allocation, ...]:
        """The live allocations of a pod, one an interface."""
        return tuple([self._by_number[number] for number in numbers_of(self.keys.of_pod, uid)])

    def at(self, attachment: Attachment) -> Allocation | None:
        """The live allocation used by an attachment."""
        sandbox, interface = attachment
        return self._of_interface(self.keys.of_sandbox.get(sandbox), interface)

    def _of_interface(
        self, found: int | tuple[int, ...] | None, interface: str
    ) -> Allocation | None:
        if found is None:
            return None
        for number in (found,) if isinstance(found, int) else found:
            allocation = self._by_number[number]
            if allocation.common.interface == interface:
                return allocation
        return None

    def in_place(self, place: Place, interface: str) -> Allocation | None:
        """The live allocation that belongs to a place, whichever pod has or had it."""
        places = self.keys.by_place.get(place.application, {})
        number = places.get((place.name, interface))
        return None if number is None else self._by_number[number]

    def of_application(self, key: ApplicationKey) -> tuple[Allocation, ...]:
        """The live allocations of all places of an application, in the order of allocation."""
        numbers = sorted(self.keys.by_place.get(key, {}).values())
        return tuple([self._by_number[number] for number in numbers])

    @property
    def keys(self) -> _Keys:
        """Pods, sandboxes and places, as they are from here on."""
        if self._keys is None:
            self._keys = _Keys(self._by_number.values())
        return self._keys

    def add(self, allocation: Allocation) -> None:
        """Take a new allocation in. Its identity must have none (invariant 8)."""
        same = self._by_number.setdefault(allocation.number, allocation)
        assert same is allocation, "a number is given once"
        if self._keys is not None:
            assert self.of(allocation.identity) is None, "invariant 8"
            self._keys.enter(allocation)

    def restore(self, allocations: Iterable[Allocation]) -> None:
        """Take in some of those that there were, in their order, before `index`."""
        self._by_number.update((a.number, a) for a in allocations)

    def index(self) -> None:
        """Make every other key lead to what was restored."""
        self._keys = _Keys(self._by_number.values())

    def remove(self, allocation_id: str) -> Allocation:
        """Take an allocation out. It must be live (invariant 7)."""
        number = int(allocation_id[1:])
        allocation = self._by_number.pop(number)
        if self._keys is not None:
            self._keys.leave(allocation)
        return allocation

    def hold(self, allocation_id: str) -> tuple[Allocation, Allocation]:
        """No sandbox uses it from here on. Returns its old and its new form."""
        old = self._by_number[int(allocation_id[1:])]
        return old, self._change(old, old.pod_name, old.pod_uid, old.node, "", old.bound)

    def move(self, allocation_id: str, sandbox: str, now: int) -> tuple[Allocation, Allocation]:
        """Another sandbox uses it from here on. Returns its old and its new form."""
        old = self._by_number[int(allocation_id[1:])]
        return old, self._change(old, old.pod_name, old.pod_uid, old.node, sandbox, now)

    def pass_on(
        self, allocation_id: str, sandbox: str, pod: Pod, node: str, now: int
    ) -> tuple[Allocation, Allocation]:
        """Another pod has it from here on. Returns its old and its new form."""
        old = self._by_number[int(allocation_id[1:])]
        return old, self._change(old, pod.name, pod.uid, node, sandbox, now)

    def _change(
        self, old: Allocation, pod_name: str, pod_uid: str, node: str, sandbox: str, bound: int
    ) -> Allocation:
        new = self._by_number[old.number] = Allocation(
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
        if self._keys is not None:
            self._keys.change(old, new)
        return new
