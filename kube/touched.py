"""What an event changes, as far as an API server shows it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ipledger.events.facts import Pod
from ipledger.events.types import (
    AddressesAllocated,
    AddressesHeld,
    AddressesReleased,
    AllocationImported,
    AllocationRebound,
    AnyEvent,
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
from ipledger.projections.state import State


class Touched(NamedTuple):
    """A pool, subnet or reservation, by its kind and name."""

    kind: str
    name: str


POOL = "SpiderIPPool"
SUBNET = "SpiderSubnet"
RESERVATION = "SpiderReservedIP"


def touched(state: State, event: AnyEvent) -> Iterator[Touched]:
    """What is another behind an event than before it, which `state` is.

    A subnet's status tells of its pools.
    """
    match event:
        case AddressesAllocated() | AllocationImported():
            yield from _pools(address.pool for address in event.addresses)
        case AllocationRebound() | AddressesHeld() | AddressesReleased():
            held = state.allocations.get(event.allocation)
            yield from _pools(address.pool for address in held.addresses) if held else ()
        case PoolCreated() | PoolUpdated():
            yield Touched(POOL, event.pool.name)
            yield from _subnets(state, event.pool.subnet)
        case PoolDeleted() | PoolTerminating():
            yield Touched(POOL, event.name)
            pool = state.pools.get(event.name)
            yield from _subnets(state, pool.spec.subnet) if pool else ()
        case SubnetCreated() | SubnetUpdated():
            yield Touched(SUBNET, event.subnet.name)
        case SubnetDeleted():
            yield Touched(SUBNET, event.name)
        case ReservationCreated() | ReservationUpdated():
            yield Touched(RESERVATION, event.reservation.name)
        case ReservationDeleted():
            yield Touched(RESERVATION, event.name)
        case _:
            pass


def pods_touched(state: State, event: AnyEvent) -> Iterator[Pod]:
    """The pods whose allocations are others behind an event than before it, which `state` is."""
    match event:
        case AddressesAllocated() | AllocationImported():
            yield event.pod
        case AllocationRebound(pod=Pod() as pod):
            yield pod
            yield from _pod_of(state, event.allocation)
        case AllocationRebound() | AddressesHeld() | AddressesReleased():
            yield from _pod_of(state, event.allocation)
        case _:
            pass


def _pod_of(state: State, allocation: str) -> Iterator[Pod]:
    held = state.allocations.get(allocation)
    if held is not None:
        yield held.pod


def _pools(names: Iterable[str]) -> Iterator[Touched]:
    return (Touched(POOL, name) for name in names)


def _subnets(state: State, prefix: str) -> Iterator[Touched]:
    return (Touched(SUBNET, s.name) for s in state.subnets.values() if s.subnet == prefix)
