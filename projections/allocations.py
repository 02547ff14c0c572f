"""Allocations by every key that a question or a command comes with.

There may be a million of them, so each is held in few words (ADR 30): what the pods of a workload
have in common is kept once, addresses are integers, and a key that mostly leads to one allocation
leads to it without a tuple between.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TypeAlias

import msgspec

from ipledger.events.addresses import format_ip
from ipledger.events.facts import Address, Owner, Pod, Route
from ipledger.events.position import Position
from ipledger.projections.applications import ApplicationKey
from ipledger.projections.fixed import KINDS, Place, keeper_of, name_in

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


_Index: TypeAlias = dict[str, int | tuple[int, ...]]
"""Numbers of allocations by a text that the interfaces of one pod share: UID, or sandbox.

Most pods have one interface, and lead to a number; the others to a tuple, in order.
"""


def _numbers(index: _Index, key: str) -> tuple[int, ...]:
    """Those of a key, in the order of their allocation."""
    found = index.get(key)
    if found is None:
        return ()
    return (found,) if isinstance(found, int) else found


def _add(index: _Index, key: str, number: int) -> None:
    """Take in one that is not in."""
    if index.setdefault(key, number) != number:
        index[key] = tuple(sorted((*_numbers(index, key), number)))


def _remove(index: _Index, key: str, number: int) -> None:
    """Take one out that is in."""
    found = index.pop(key)
    if found != number:
        assert isinstance(found, tuple)
        rest = tuple(other for other in found if other != number)
        index[key] = rest[0] if len(rest) == 1 else rest


def _index_of(keys: Sequence[str], numbers: Sequence[int]) -> _Index:
    """What `_add` makes of all that there are, and much quicker."""
    index: _Index = dict(zip(keys, numbers, strict=True))
    if len(index) < len(keys):
        index.clear()
        for key, number in zip(keys, numbers, strict=True):
            _add(index, key, number)
    return index


class Allocations:
    """The live allocations. Every key leads to at most one (invariant 8).

    All keys lead to an allocation by its number, which stays the same when the allocation takes a
    new form.
    """

    __slots__ = ("_by_number", "_by_place", "_of_pod", "_of_sandbox")

    def __init__(self) -> None:
        self._by_number: dict[int, Allocation] = {}
        self._of_pod: _Index = {}
        self._of_sandbox: _Index = {}
        self._by_place: dict[ApplicationKey, dict[tuple[str, str], int]] = {}

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
        return self._of_interface(self._of_pod.get(uid), interface)

    def of_pod(self, uid: str) -> tuple[Allocation, ...]:
        """The live allocations of a pod, one an interface."""
        return tuple([self._by_number[number] for number in _numbers(self._of_pod, uid)])

    def at(self, attachment: Attachment) -> Allocation | None:
        """The live allocation used by an attachment."""
        sandbox, interface = attachment
        return self._of_interface(self._of_sandbox.get(sandbox), interface)

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
        number = self._by_place.get(place.application, {}).get((place.name, interface))
        return None if number is None else self._by_number[number]

    def of_application(self, key: ApplicationKey) -> tuple[Allocation, ...]:
        """The live allocations of all places of an application, in the order of allocation."""
        numbers = sorted(self._by_place.get(key, {}).values())
        return tuple([self._by_number[number] for number in numbers])

    def add(self, allocation: Allocation) -> None:
        """Take a new allocation in. Its identity must have none (invariant 8)."""
        number, uid, sandbox = allocation.number, allocation.pod_uid, allocation.sandbox
        if self._of_pod.setdefault(uid, number) != number:
            assert self.of(allocation.identity) is None, "invariant 8"
            _add(self._of_pod, uid, number)
        self._by_number[number] = allocation
        if sandbox and self._of_sandbox.setdefault(sandbox, number) != number:
            _add(self._of_sandbox, sandbox, number)
        keeper = _keeper(allocation.common)
        if keeper is not None:
            self._link_place(keeper, allocation)

    def restore(self, allocations: Iterable[Allocation]) -> None:
        """Take in some of those that there were, in their order, before `index`."""
        self._by_number.update((a.number, a) for a in allocations)

    def index(self) -> None:
        """Make every other key lead to what was restored."""
        every = list(self._by_number.values())
        attached = [a for a in every if a.sandbox]
        self._of_pod = _index_of([a.pod_uid for a in every], [a.number for a in every])
        self._of_sandbox = _index_of([a.sandbox for a in attached], [a.number for a in attached])
        for allocation in every:
            keeper = _keeper(allocation.common)
            if keeper is not None:
                self._link_place(keeper, allocation)

    def remove(self, allocation_id: str) -> Allocation:
        """Take an allocation out. It must be live (invariant 7)."""
        number = number_of(allocation_id)
        allocation = self._by_number.pop(number)
        _remove(self._of_pod, allocation.pod_uid, number)
        sandbox = allocation.sandbox
        if sandbox:
            _remove(self._of_sandbox, sandbox, number)
        keeper = _keeper(allocation.common)
        if keeper is not None:
            self._unlink_place(keeper, allocation)
        return allocation

    def hold(self, allocation_id: str) -> tuple[Allocation, Allocation]:
        """No sandbox uses it from here on. Returns its old and its new form."""
        old = self._by_number[number_of(allocation_id)]
        return old, self._change(old, old.pod_name, old.pod_uid, old.node, "", old.bound)

    def move(self, allocation_id: str, sandbox: str, now: int) -> tuple[Allocation, Allocation]:
        """Another sandbox uses it from here on. Returns its old and its new form."""
        old = self._by_number[number_of(allocation_id)]
        return old, self._change(old, old.pod_name, old.pod_uid, old.node, sandbox, now)

    def pass_on(
        self, allocation_id: str, sandbox: str, pod: Pod, node: str, now: int
    ) -> tuple[Allocation, Allocation]:
        """Another pod has it from here on. Returns its old and its new form."""
        old = self._by_number[number_of(allocation_id)]
        new = self._change(old, pod.name, pod.uid, node, sandbox, now)
        number = old.number
        if pod.uid != old.pod_uid:
            _remove(self._of_pod, old.pod_uid, number)
            _add(self._of_pod, pod.uid, number)
        if pod.name != old.pod_name:
            keeper = _keeper(old.common)
            if keeper is not None:
                self._unlink_place(keeper, old)
                self._link_place(keeper, new)
        return old, new

    def _change(
        self, old: Allocation, pod_name: str, pod_uid: str, node: str, sandbox: str, bound: int
    ) -> Allocation:
        number = old.number
        new = self._by_number[number] = Allocation(
            number,
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
        if old.sandbox:
            _remove(self._of_sandbox, old.sandbox, number)
        if sandbox:
            _add(self._of_sandbox, sandbox, number)
        return new

    def _link_place(self, keeper: ApplicationKey, allocation: Allocation) -> None:
        name = name_in(keeper, allocation.pod_name)
        places = self._by_place.setdefault(keeper, {})
        places[name, allocation.common.interface] = allocation.number

    def _unlink_place(self, keeper: ApplicationKey, allocation: Allocation) -> None:
        name = name_in(keeper, allocation.pod_name)
        places = self._by_place[keeper]
        del places[name, allocation.common.interface]
        if not places:
            del self._by_place[keeper]
