"""What an event changes, as far as an API server shows it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ipledger.events.types import (
    AddressesAllocated,
    AddressesHeld,
    AddressesReleased,
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
        case AddressesAllocated():
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


def _pools(names: Iterable[str]) -> Iterator[Touched]:
    return (Touched(POOL, name) for name in names)


def _subnets(state: State, prefix: str) -> Iterator[Touched]:
    return (Touched(SUBNET, s.name) for s in state.subnets.values() if s.subnet == prefix)
