"""Deciding auto pools: pools that the engine makes out of a subnet for one application.

There is one for each interface and IP version that the application's pods ask for. It is made,
and grows, with the lowest free addresses of its subnet; it shrinks by its lowest addresses that
nobody holds, as soon as it has more than its application wants (Spiderpool: SpiderSubnet).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from itertools import count
from typing import NamedTuple

import msgspec

from ipledger.engine.pool_checks import name_fault
from ipledger.engine.refusals import Reason, Refusal
from ipledger.engine.subnet_annotations import Demand, ip_number
from ipledger.engine.subnets import free_of
from ipledger.events.facts import Application, AutoPool, Owner, PoolSpec, SubnetSpec
from ipledger.events.types import AnyEvent, PoolCreated, PoolDeleted, PoolTerminating, PoolUpdated
from ipledger.projections.allocations import Allocation
from ipledger.projections.applications import ApplicationKey, key_of_owner
from ipledger.projections.directory import AutoKey, auto_key
from ipledger.projections.pool import Pool
from ipledger.projections.ranges import (
    Intervals,
    lowest,
    merged,
    minus,
    size,
    texts_of,
    without,
)
from ipledger.projections.state import State

_NAME_MAX = 253
_UID_MAX = 5
_UNNAMEABLE = re.compile(r"[^a-z0-9]+")

Leaving = Mapping[str, Collection[int]]
"""Addresses that the same decision gives back, by pool."""

STAYING: Leaving = {}


class Wish(NamedTuple):
    """One auto pool as an application wants it: with `size` addresses."""

    auto: AutoPool
    ip_version: int
    size: int

    @property
    def key(self) -> AutoKey:
        """What the pool is found by."""
        application = key_of_owner(self.auto.owner, self.auto.namespace)
        return AutoKey(application, self.auto.interface, self.ip_version)


def wishes(
    demand: Demand, interface: str, namespace: str, owner: Owner, replicas: int
) -> Iterator[Wish]:
    """The auto pools that an interface of an application's pods needs."""
    item = demand.of(interface)
    assert item is not None
    for ip_version, subnet in item.by_version().items():
        auto = AutoPool(subnet, namespace, owner, interface, demand.number_text, demand.reclaim)
        yield Wish(auto, ip_version, demand.number.wanted(replicas))


def subnet_named(state: State, wish: Wish, field: str) -> SubnetSpec | Refusal:
    """The subnet that an annotation names for a family."""
    name = wish.auto.subnet
    subnet = state.subnets.get(name)
    if subnet is None:
        message = f"annotation {field} names subnet {name!r}, which does not exist"
        return Refusal(Reason.SUBNET_UNKNOWN, message, field, name)
    if subnet.ip_version != wish.ip_version:
        what = f"an IPv{subnet.ip_version} subnet, for IPv{wish.ip_version}"
        message = f"annotation {field} names {name!r}, {what}"
        return Refusal(Reason.BAD_REQUEST, message, field, name)
    return subnet


def created(
    state: State, wish: Wish, subnet: SubnetSpec, claimed: Intervals = ()
) -> PoolCreated | Refusal:
    """A new pool with the lowest free addresses of the subnet.

    `claimed` are addresses that another pool gets in the same decision.
    """
    ips = _more(state, subnet, wish.size, claimed)
    if isinstance(ips, Refusal):
        return ips
    name = _free_name(state, wish)
    if name_fault(name) is not None:
        owner = wish.auto.owner.name
        return Refusal(Reason.BAD_REQUEST, f"owner: {owner!r} cannot name a pool", "owner", owner)
    spec = PoolSpec(
        name=name,
        ip_version=subnet.ip_version,
        subnet=subnet.subnet,
        ips=texts_of(ips, subnet.ip_version),
        gateway=subnet.gateway,
        routes=subnet.routes,
        auto=wish.auto,
    )
    return PoolCreated(pool=spec)


def grown(
    state: State, pool: Pool, wish: Wish, subnet: SubnetSpec, claimed: Intervals = ()
) -> PoolSpec | Refusal:
    """The pool as it is wanted, with at least as many addresses as it has."""
    missing = wish.size - pool.total
    more = _more(state, subnet, missing, claimed) if missing > 0 else ()
    if isinstance(more, Refusal):
        return more
    return _with_addresses(pool, merged((*pool.usable, *more)), wish.auto)


def shrunk(pool: Pool, wanted: int, leaving: Leaving, auto: AutoPool) -> PoolSpec:
    """The pool without the lowest addresses that nobody holds, as far as it has too many."""
    gone = leaving.get(pool.spec.name, ())
    held = [address for address in pool.taken if address not in gone]
    spare = tuple(without(pool.usable, held))
    dropped = lowest(spare, pool.total - wanted)
    return _with_addresses(pool, minus(pool.usable, dropped), auto)


def ended(state: State, name: str, leaving: Leaving = STAYING) -> tuple[AnyEvent, ...]:
    """The end of a pool: now if it is empty, else when its last address is released."""
    pool = state.pools[name]
    if len(pool.taken) == len(leaving.get(name, ())):
        return (PoolDeleted(name=name),)
    return () if pool.terminating else (PoolTerminating(name=name),)


def emptied(state: State, leaving: Leaving) -> Iterator[PoolDeleted]:
    """The ends of terminating pools that hold nothing but what leaves."""
    for name, gone in leaving.items():
        pool = state.pools[name]
        if pool.terminating and len(pool.taken) == len(gone):
            yield PoolDeleted(name=name)


def shed(state: State, leaving: Leaving) -> Iterator[AnyEvent]:
    """What auto pools give back of what leaves, as far as they have more than is wanted."""
    for name in leaving:
        pool = state.pools[name]
        key = auto_key(pool.spec)
        if key is None or pool.spec.auto is None or pool.terminating:
            continue
        wanted = wanted_size(pool.spec.auto, state.applications.get(key.application))
        if wanted is not None and pool.total > wanted:
            yield from updated(pool, shrunk(pool, wanted, leaving, pool.spec.auto))


def addresses_of(held: Allocation) -> Leaving:
    """The addresses of an allocation, as they leave with it."""
    return {address.pool: (address.value,) for address in held.addresses}


def is_of(pool: Pool, subnet: SubnetSpec) -> bool:
    """Whether an auto pool has its addresses from a subnet."""
    return pool.spec.auto is not None and pool.spec.auto.subnet == subnet.name


def pools_for(state: State, key: ApplicationKey) -> list[str]:
    """The auto pools of an application that give out addresses, by name."""
    return sorted(name for auto, name in state.directory.auto.items() if auto.application == key)


def wanted_size(auto: AutoPool, application: Application | None) -> int | None:
    """How many addresses an auto pool should have, None where nobody says."""
    number = ip_number(auto.number)
    assert not isinstance(number, Refusal), "it was read before the pool was made"
    if number.fixed is not None:
        return number.fixed
    return None if application is None else number.wanted(application.replicas)


def _more(state: State, subnet: SubnetSpec, number: int, claimed: Intervals) -> Intervals | Refusal:
    free = minus(free_of(state, subnet), claimed)
    if size(free) >= number:
        return lowest(free, number)
    message = (
        f"subnet {subnet.name!r} has {size(free)} free addresses, but an auto pool needs "
        f"{number} more"
    )
    return Refusal(Reason.SUBNET_EXHAUSTED, message, "subnet", subnet.name)


def _with_addresses(pool: Pool, addresses: Intervals, auto: AutoPool) -> PoolSpec:
    ips = texts_of(addresses, pool.spec.ip_version)
    same = addresses == pool.usable
    return msgspec.structs.replace(
        pool.spec,
        ips=pool.spec.ips if same else ips,
        exclude_ips=pool.spec.exclude_ips if same else (),
        auto=auto,
    )


def _free_name(state: State, wish: Wish) -> str:
    """`auto4-web-eth0-1a2b3`, as Spiderpool names it; numbered where that name is taken."""
    owner = wish.auto.owner
    nic = _UNNAMEABLE.sub("-", wish.auto.interface.lower())
    uid = _UNNAMEABLE.sub("", owner.uid.rpartition("-")[2].lower())[:_UID_MAX]
    head, tail = f"auto{wish.ip_version}-", f"-{nic}" + (f"-{uid}" if uid else "")
    for number in count(1):
        end = (tail if number == 1 else f"{tail}-{number}").rstrip("-")
        name = head + owner.name.lower()[: _NAME_MAX - len(head) - len(end)].rstrip(".-") + end
        if name not in state.pools:
            return name
    raise AssertionError("numbers do not end")


def updated(pool: Pool, spec: PoolSpec) -> tuple[AnyEvent, ...]:
    """The event that gives a pool its specification, if that is another one."""
    return () if pool.spec == spec else (PoolUpdated(pool=spec),)
