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
    SubnetCreated,
    SubnetDeleted,
    SubnetUpdated,
)
from ipledger.projections.state import State


class Touched(NamedTuple):
    """A pool or subnet, by its kind and name."""

    kind: str
    name: str


POOL = "SpiderIPPool"
SUBNET = "SpiderSubnet"


def touched(state: State, event: AnyEvent) -> Iterator[Touched]:
    """What has another status behind an event than before it, which `state` is.

    A subnet's status tells of its pools. A reservation's status tells nothing of the log.
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
        case _:
            pass


def _pools(names: Iterable[str]) -> Iterator[Touched]:
    return (Touched(POOL, name) for name in names)


def _subnets(state: State, prefix: str) -> Iterator[Touched]:
    return (Touched(SUBNET, s.name) for s in state.subnets.values() if s.subnet == prefix)
