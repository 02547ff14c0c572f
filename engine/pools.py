"""Deciding changes of pools: what a pool may not share with others, or take from its holders."""

from __future__ import annotations

from ipledger.engine.commands import ApplyPool, DeletePool
from ipledger.engine.pool_checks import checked
from ipledger.engine.refusals import Reason, Refusal
from ipledger.engine.subnets import inherited, outside_subnet
from ipledger.events.addresses import format_ip
from ipledger.events.facts import PoolSpec
from ipledger.events.types import AnyEvent, PoolCreated, PoolDeleted, PoolUpdated
from ipledger.projections.pool import Pool
from ipledger.projections.ranges import Interval, Intervals, contains, network, overlap, usable
from ipledger.projections.state import State


def apply_pool(state: State, command: ApplyPool) -> tuple[AnyEvent, ...] | Refusal:
    """Create a pool, change it, or find that it is so already; refuse what breaks a rule."""
    spec = checked(inherited(state, command.pool))
    if isinstance(spec, Refusal):
        return spec
    existing = state.pools.get(spec.name)
    if existing is not None and existing.spec == spec:
        return ()
    refusal = (
        _immutable(existing, spec) or _removes_held(existing, spec) if existing else None
    ) or (_overlaps(state, spec) or outside_subnet(state, spec))
    if refusal is not None:
        return refusal
    return (PoolUpdated(pool=spec),) if existing else (PoolCreated(pool=spec),)


def delete_pool(state: State, command: DeletePool) -> tuple[AnyEvent, ...] | Refusal:
    """Delete a pool that exists and holds nothing (invariant 3)."""
    pool = state.pools.get(command.name)
    if pool is None:
        message = f"no pool {command.name!r}"
        return Refusal(Reason.POOL_UNKNOWN, message, "name", command.name)
    if pool.taken:
        message = f"pool {command.name!r} cannot be deleted: {len(pool.taken)} addresses in use"
        return Refusal(Reason.POOL_IN_USE, message, "name", command.name)
    return (PoolDeleted(name=command.name),)


def _immutable(pool: Pool, spec: PoolSpec) -> Refusal | None:
    if pool.spec.subnet == spec.subnet:
        return None
    message = f"spec.subnet: cannot change from {pool.spec.subnet} to {spec.subnet!r}"
    return Refusal(Reason.FIELD_IMMUTABLE, message, "spec.subnet", spec.subnet)


def _removes_held(pool: Pool, spec: PoolSpec) -> Refusal | None:
    addresses = usable(spec)
    removed = min((a for a in pool.taken if not contains(addresses, a)), default=None)
    if removed is None:
        return None
    text = format_ip(spec.ip_version, removed)
    holder = pool.taken[removed]
    field = "spec.excludeIPs" if spec.ips == pool.spec.ips else "spec.ips"
    message = f"{field}: would remove {text}, which pod {holder.pod} ({holder.id}) is using"
    return Refusal(Reason.ADDRESS_IN_USE, message, field, text)


def _overlaps(state: State, spec: PoolSpec) -> Refusal | None:
    subnet, addresses = network(spec.subnet), usable(spec)
    for other in state.pools.values():
        if other.spec.name == spec.name or other.spec.ip_version != spec.ip_version:
            continue
        refusal = _overlaps_pool(spec, subnet, addresses, other)
        if refusal is not None:
            return refusal
    return None


def _overlaps_pool(
    spec: PoolSpec, subnet: Interval, addresses: Intervals, other: Pool
) -> Refusal | None:
    if spec.subnet != other.spec.subnet:
        if overlap((subnet,), (network(other.spec.subnet),)) is None:
            return None
        message = (
            f"spec.subnet: {spec.subnet!r} overlaps with pool {other.spec.name!r}, "
            f"whose subnet is {other.spec.subnet}"
        )
        return Refusal(Reason.POOL_OVERLAP, message, "spec.subnet", spec.subnet)
    shared = overlap(addresses, other.usable)
    if shared is None:
        return None
    first, last = (format_ip(spec.ip_version, address) for address in shared)
    text = first if first == last else f"{first}-{last}"
    message = (
        f"spec.ips: {text!r} belongs to pool {other.spec.name!r} already "
        "(the addresses of a pool are spec.ips minus spec.excludeIPs)"
    )
    return Refusal(Reason.POOL_OVERLAP, message, "spec.ips", text)
