"""An auditor's own books: who holds what, kept from the events alone.

Independent of the projections on purpose, so that a mistake there is found and not repeated:
texts are read with the standard library alone, and nothing of `State` is used.
"""

from __future__ import annotations

import socket
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, NamedTuple, TypeAlias

from ipledger.events.facts import PoolSpec, ReservationSpec
from ipledger.events.types import (
    AddressesAllocated,
    AddressesHeld,
    AddressesReleased,
    AddressQuarantined,
    AddressRestored,
    AllocationImported,
    AllocationRebound,
    AnyEvent,
    Event,
    PoolCreated,
    PoolDeleted,
    PoolUpdated,
    ReservationCreated,
    ReservationDeleted,
    ReservationUpdated,
)

_Range: TypeAlias = tuple[int, int]

_BEYOND = 1 << 128
"""Above every address."""


class ViolationError(Exception):
    """An event that breaks an invariant of DESIGN section 12; the text starts with its number."""


@dataclass(slots=True)
class _PoolBook:
    version: int
    spec: PoolSpec
    ranges: list[_Range]
    held: set[int] = field(default_factory=set[int])


class _Holder(NamedTuple):
    identity: tuple[str, str]
    addresses: tuple[tuple[str, int, int], ...]
    """Pool, IP version, address as an integer."""


class Bookkeeping:
    """Takes in every event in order and raises `ViolationError` at the first bad one.

    Asserts invariants 1, 2, 3, 7 and 8.
    """

    def __init__(self) -> None:
        self._reservations: dict[str, ReservationSpec] = {}
        self._reserved: dict[int, list[_Range]] = {4: [], 6: []}
        self._quarantined: set[tuple[int, int]] = set()
        self._pools: dict[str, _PoolBook] = {}
        self._holder_of: dict[int, dict[int, str]] = {4: {}, 6: {}}
        self._live: dict[str, _Holder] = {}
        self._allocation_of: dict[tuple[str, str], str] = {}
        self._enter: dict[type[Event], Callable[[Any], None]] = {
            PoolCreated: lambda event: self._define(event.pool, exists=False),
            PoolUpdated: lambda event: self._define(event.pool, exists=True),
            PoolDeleted: lambda event: self._delete(event.name),
            ReservationCreated: lambda event: self._reserve(event.reservation),
            ReservationUpdated: lambda event: self._reserve(event.reservation),
            ReservationDeleted: self._unreserve,
            AddressesAllocated: self._allocate,
            AllocationImported: self._allocate,
            AllocationRebound: self._rebind,
            AddressesHeld: lambda event: self._must_live(event.allocation, "is held"),
            AddressesReleased: self._release,
            AddressQuarantined: self._quarantine,
            AddressRestored: self._restore,
        }

    def enter(self, event: AnyEvent) -> None:
        """Take in the next event. The books are worthless once this has raised."""
        enter = self._enter.get(type(event))
        if enter is not None:
            enter(event)

    def _reserve(self, spec: ReservationSpec) -> None:
        self._reservations[spec.name] = spec
        self._sum_up_reservations()

    def _unreserve(self, event: ReservationDeleted) -> None:
        self._reservations.pop(event.name, None)
        self._sum_up_reservations()

    def _quarantine(self, event: AddressQuarantined) -> None:
        address = _parse(event.address)
        if address in self._quarantined:
            raise ViolationError(f"invariant 1: {event.address} is quarantined already")
        self._quarantined.add(address)

    def _restore(self, event: AddressRestored) -> None:
        address = _parse(event.address)
        if address not in self._quarantined:
            raise ViolationError(f"invariant 1: {event.address} is restored, but not quarantined")
        self._quarantined.remove(address)

    def _sum_up_reservations(self) -> None:
        for version in self._reserved:
            specs = [s for s in self._reservations.values() if s.ip_version == version]
            self._reserved[version] = _union(_range(text) for s in specs for text in s.ips)

    def _define(self, spec: PoolSpec, *, exists: bool) -> None:
        before = self._pools.get(spec.name)
        if (before is not None) != exists:
            there = "is not there" if exists else "is there already"
            raise ViolationError(f"invariant 3: pool {spec.name!r} {there}")
        if before is not None and _same_addresses(before.spec, spec):
            return
        book = _PoolBook(spec.ip_version, spec, _ranges(spec), before.held if before else set())
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
        allocation = event.allocation
        other = self._allocation_of.setdefault(identity, allocation)
        if other is not allocation:
            what = f"pod {event.pod} interface {event.interface} holds {other} already"
            raise ViolationError(f"invariant 8: {what}")
        if allocation in self._live:
            raise ViolationError(f"invariant 8: allocation {allocation} is live already")
        addresses = tuple([(held.pool, *_parse(held.address)) for held in event.addresses])
        for pool, version, value in addresses:
            if self._quarantined and (version, value) in self._quarantined:
                self._must_be_imported(event, version, value)
            reserved = self._reserved[version]
            if reserved and isinstance(event, AddressesAllocated) and _inside(reserved, value):
                raise ViolationError(f"invariant 1: {self._reserved_by(version, value)}")
            self._hold(pool, version, value, allocation)
        self._live[allocation] = _Holder(identity, addresses)

    def _must_be_imported(
        self, event: AddressesAllocated | AllocationImported, version: int, value: int
    ) -> None:
        if isinstance(event, AddressesAllocated):
            raise ViolationError(f"invariant 1: {_text(version, value)} is quarantined")

    def _hold(self, pool: str, version: int, value: int, allocation: str) -> None:
        holder = self._holder_of[version].setdefault(value, allocation)
        if holder is not allocation:
            what = f"{_text(version, value)} is held by {holder} already"
            raise ViolationError(f"invariant 1: {what}")
        book = self._pools.get(pool)
        if book is None or book.version != version:
            raise ViolationError(f"invariant 2: no IPv{version} pool {pool!r}")
        if not _inside(book.ranges, value):
            what = f"{_text(version, value)} is not an address of pool {pool!r}"
            raise ViolationError(f"invariant 2: {what}")
        book.held.add(value)

    def _reserved_by(self, version: int, value: int) -> str:
        for name, spec in self._reservations.items():
            if spec.ip_version == version and _inside(_union(map(_range, spec.ips)), value):
                return f"{_text(version, value)} is reserved by {name!r}"
        raise AssertionError("what is reserved is in a reservation")

    def _rebind(self, event: AllocationRebound) -> None:
        allocation, pod = event.allocation, event.pod
        self._must_live(allocation, "is rebound")
        if pod is None:
            return
        holder = self._live[allocation]
        identity = (pod.uid, holder.identity[1])
        other = self._allocation_of.get(identity, allocation)
        if other != allocation:
            what = f"pod {pod} interface {identity[1]} holds {other} already"
            raise ViolationError(f"invariant 8: {what}")
        del self._allocation_of[holder.identity]
        self._live[allocation] = holder._replace(identity=identity)
        self._allocation_of[identity] = allocation

    def _release(self, event: AddressesReleased) -> None:
        allocation = event.allocation
        self._must_live(allocation, "is released")
        identity, addresses = self._live.pop(allocation)
        del self._allocation_of[identity]
        for pool, version, value in addresses:
            del self._holder_of[version][value]
            self._pools[pool].held.discard(value)

    def _must_live(self, allocation: str, what: str) -> None:
        if allocation not in self._live:
            raise ViolationError(f"invariant 7: {allocation} {what}, but is not live")


def _same_addresses(left: PoolSpec, right: PoolSpec) -> bool:
    addresses = (left.ip_version, left.ips, left.exclude_ips)
    return addresses == (right.ip_version, right.ips, right.exclude_ips)


def _ranges(spec: PoolSpec) -> list[_Range]:
    """The addresses of a pool: each range of `ips`, cut at what `excludeIPs` names."""
    ranges = _union(_range(text) for text in spec.ips)
    for first, last in (_range(text) for text in spec.exclude_ips):
        cut = [((a, min(b, first - 1)), (max(a, last + 1), b)) for a, b in ranges]
        ranges = [(a, b) for pair in cut for a, b in pair if a <= b]
    return ranges


def _union(ranges: Iterable[_Range]) -> list[_Range]:
    """The same addresses as ranges that are sorted and do not overlap."""
    united: list[_Range] = []
    for first, last in sorted(ranges):
        if united and first <= united[-1][1]:
            united[-1] = united[-1][0], max(united[-1][1], last)
        else:
            united.append((first, last))
    return united


def _range(text: str) -> _Range:
    first, _, last = text.partition("-")
    return int(ip_address(first)), int(ip_address(last or first))


def _inside(ranges: list[_Range], address: int) -> bool:
    """Whether sorted ranges hold an address."""
    if len(ranges) == 1:
        first, last = ranges[0]
        return first <= address <= last
    at = bisect_right(ranges, (address, _BEYOND))
    return at > 0 and address <= ranges[at - 1][1]


def _shared(left: list[_Range], right: list[_Range]) -> int | None:
    pairs = ((max(a, c), min(b, d)) for a, b in left for c, d in right)
    return next((first for first, last in pairs if first <= last), None)


def _parse(text: str) -> tuple[int, int]:
    """IP version and integer of `address/prefix length`. Raises `ValueError` naming the text."""
    ip = text.partition("/")[0]
    try:
        if ":" in ip:
            return 6, int.from_bytes(socket.inet_pton(socket.AF_INET6, ip), "big")
        return 4, int.from_bytes(socket.inet_pton(socket.AF_INET, ip), "big")
    except OSError:
        raise ValueError(f"{ip!r} does not appear to be an IPv4 or IPv6 address") from None


def _text(version: int, value: int) -> str:
    return str(IPv4Address(value) if version == 4 else IPv6Address(value))
