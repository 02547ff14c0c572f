"""An auditor's own books: who holds what, kept from the events alone.

Independent of the projections on purpose, so that a mistake there is found and not repeated:
ranges are read with the standard library's `ipaddress`, and nothing of `State` is used.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypeAlias

from ipledger.events.facts import PoolSpec
from ipledger.events.types import (
    AddressesAllocated,
    AddressesHeld,
    AddressesReleased,
    AllocationImported,
    AllocationRebound,
    AnyEvent,
    PoolCreated,
    PoolDeleted,
    PoolUpdated,
    ReservationCreated,
    ReservationDeleted,
    ReservationUpdated,
)

_Address: TypeAlias = tuple[int, int]
"""IP version and the address as an integer."""
_Range: TypeAlias = tuple[int, int]


class ViolationError(Exception):
    """An event that breaks an invariant of DESIGN section 12; the text starts with its number."""


@dataclass(slots=True)
class _PoolBook:
    version: int
    ranges: list[_Range]
    held: set[int] = field(default_factory=set[int])


@dataclass(slots=True)
class _Holder:
    identity: tuple[str, str]
    addresses: list[tuple[str, _Address]]


class Bookkeeping:
    """Takes in every event in order and raises `ViolationError` at the first bad one.

    Asserts invariants 1, 2, 3, 7 and 8.
    """

    def __init__(self) -> None:
        self._reserved: dict[str, tuple[int, list[_Range]]] = {}
        self._pools: dict[str, _PoolBook] = {}
        self._holder_of: dict[_Address, str] = {}
        self._live: dict[str, _Holder] = {}
        self._allocation_of: dict[tuple[str, str], str] = {}

    def enter(self, event: AnyEvent) -> None:
        """Take in the next event. The books are worthless once this has raised."""
        match event:
            case PoolCreated():
                self._define(event.pool, exists=False)
            case PoolUpdated():
                self._define(event.pool, exists=True)
            case PoolDeleted():
                self._delete(event.name)
            case ReservationCreated() | ReservationUpdated():
                spec = event.reservation
                ranges = [_range(text) for text in spec.ips]
                self._reserved[spec.name] = spec.ip_version, ranges
            case ReservationDeleted():
                self._reserved.pop(event.name, None)
            case AddressesAllocated() | AllocationImported():
                self._allocate(event)
            case AllocationRebound():
                self._rebind(event)
            case AddressesHeld():
                self._must_live(event.allocation, "is held")
            case AddressesReleased():
                self._release(event.allocation)
            case _:
                pass

    def _define(self, spec: PoolSpec, *, exists: bool) -> None:
        if (spec.name in self._pools) != exists:
            there = "is not there" if exists else "is there already"
            raise ViolationError(f"invariant 3: pool {spec.name!r} {there}")
        held = self._pools[spec.name].held if exists else set[int]()
        book = _PoolBook(spec.ip_version, _ranges(spec), held)
        for address in book.held:
            if not _inside(book.ranges, address):
                what = f"the change of pool {spec.name!r} drops {_text(book.version, address)}"
                raise ViolationError(f"invariant 3: {what}, which is held")
        self._must_not_share(spec.name, book)
        self._pools[spec.name] = book

    def _must_not_share(self, name: str, book: _PoolBook) -> None:
        for other_name, other in self._pools.items():
            if other_name == name or other.version != book.version:
                continue
            shared = _shared(book.ranges, other.ranges)
            if shared is not None:
                address = _text(book.version, shared)
                what = f"pools {other_name!r} and {name!r} share {address}"
                raise ViolationError(f"invariant 3: {what}")

    def _delete(self, name: str) -> None:
        book = self._pools.pop(name, None)
        if book is None:
            raise ViolationError(f"invariant 3: pool {name!r} is deleted, but there is none")
        if book.held:
            what = f"pool {name!r} is deleted with {len(book.held)} addresses held"
            raise ViolationError(f"invariant 3: {what}")

    def _allocate(self, event: AddressesAllocated | AllocationImported) -> None:
        identity = (event.pod.uid, event.interface)
        other = self._allocation_of.get(identity)
        if other is not None:
            what = f"pod {event.pod} interface {event.interface} holds {other} already"
            raise ViolationError(f"invariant 8: {what}")
        if event.allocation in self._live:
            raise ViolationError(f"invariant 8: allocation {event.allocation} is live already")
        addresses = [(held.pool, _parse(held.ip)) for held in event.addresses]
        for pool, address in addresses:
            if isinstance(event, AddressesAllocated):  # what others gave out may be reserved
                self._must_not_be_reserved(address)
            self._hold(pool, address, event.allocation)
        self._live[event.allocation] = _Holder(identity, addresses)
        self._allocation_of[identity] = event.allocation

    def _must_not_be_reserved(self, address: _Address) -> None:
        version, value = address
        for name, (reserved_version, ranges) in self._reserved.items():
            if reserved_version == version and _inside(ranges, value):
                what = f"{_text(version, value)} is reserved by {name!r}"
                raise ViolationError(f"invariant 1: {what}")

    def _hold(self, pool: str, address: _Address, allocation: str) -> None:
        version, value = address
        holder = self._holder_of.get(address)
        if holder is not None:
            what = f"{_text(version, value)} is held by {holder} already"
            raise ViolationError(f"invariant 1: {what}")
        book = self._pools.get(pool)
        if book is None or book.version != version:
            raise ViolationError(f"invariant 2: no IPv{version} pool {pool!r}")
        if not _inside(book.ranges, value):
            what = f"{_text(version, value)} is not an address of pool {pool!r}"
            raise ViolationError(f"invariant 2: {what}")
        self._holder_of[address] = allocation
        book.held.add(value)

    def _rebind(self, event: AllocationRebound) -> None:
        self._must_live(event.allocation, "is rebound")
        if event.pod is None:
            return
        holder = self._live[event.allocation]
        del self._allocation_of[holder.identity]
        holder.identity = (event.pod.uid, holder.identity[1])
        self._allocation_of[holder.identity] = event.allocation

    def _release(self, allocation: str) -> None:
        self._must_live(allocation, "is released")
        holder = self._live.pop(allocation)
        del self._allocation_of[holder.identity]
        for pool, address in holder.addresses:
            del self._holder_of[address]
            self._pools[pool].held.discard(address[1])

    def _must_live(self, allocation: str, what: str) -> None:
        if allocation not in self._live:
            raise ViolationError(f"invariant 7: {allocation} {what}, but is not live")


def _ranges(spec: PoolSpec) -> list[_Range]:
    """The addresses of a pool: each range of `ips`, cut at what `excludeIPs` names."""
    ranges = sorted(_range(text) for text in spec.ips)
    for first, last in (_range(text) for text in spec.exclude_ips):
        cut = [((a, min(b, first - 1)), (max(a, last + 1), b)) for a, b in ranges]
        ranges = [(a, b) for pair in cut for a, b in pair if a <= b]
    return ranges


def _range(text: str) -> _Range:
    first, _, last = text.partition("-")
    return int(ip_address(first)), int(ip_address(last or first))


def _inside(ranges: list[_Range], address: int) -> bool:
    return any(first <= address <= last for first, last in ranges)


def _shared(left: list[_Range], right: list[_Range]) -> int | None:
    pairs = ((max(a, c), min(b, d)) for a, b in left for c, d in right)
    return next((first for first, last in pairs if first <= last), None)


def _parse(text: str) -> _Address:
    address = ip_address(text)
    return address.version, int(address)


def _text(version: int, value: int) -> str:
    return str(IPv4Address(value) if version == 4 else IPv6Address(value))
