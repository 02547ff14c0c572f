"""Deciding changes of pools: what a pool may not share with others, or take from its holders."""

from __future__ import annotations

import msgspec

from ipledger.engine.auto_pools import ended
from ipledger.engine.commands import ApplyPool, DeletePool
from ipledger.engine.refusals import Reason, Refusal, invalid
from ipledger.engine.subnets import completed, outside_subnet
from ipledger.events.addresses import format_ip
from ipledger.events.facts import AutoPool, PoolSpec
from ipledger.events.types import AnyEvent, PoolCreated, PoolDeleted, PoolUpdated
from ipledger.projections.directory import auto_key
from ipledger.projections.pool import Pool
from ipledger.projections.ranges import (
    Intervals,
    contains,
    network,
    overlap,
    texts_of,
    usable,
)
from ipledger.projections.state import State


def apply_pool(state: State, command: ApplyPool) -> tuple[AnyEvent, ...] | Refusal:
    """Create a pool, change it, or find that it is so already; refuse what breaks a rule."""
    existing = state.pools.get(command.pool.name)
    asked = _beside_auto(existing, command)
    if isinstance(asked, Refusal):
        return asked
    spec = completed(state, asked)
    if isinstance(spec, Refusal):
        return spec
    if existing is not None and existing.spec == spec:
        return ()
    refusal = (
        _immutable(existing, spec) or _removes_held(state, existing, spec) if existing else None
    ) or conflict(state, spec)
    if refusal is not None:
        return refusal
    if existing is None:
        return (PoolCreated(pool=spec),)
    return (PoolUpdated(pool=spec), *_reclaimed(state, spec))


def delete_pool(state: State, command: DeletePool) -> tuple[AnyEvent, ...] | Refusal:
    """Delete a pool that exists, now or with its last address (invariant 3)."""
    pool = state.pools.get(command.name)
    if pool is None:
        message = f"no pool {command.name!r}"
        return Refusal(Reason.POOL_UNKNOWN, message, "name", command.name)
    if command.when_empty:
        return ended(state, command.name)
    if pool.taken:
        message = f"pool {command.name!r} cannot be deleted: {len(pool.taken)} addresses in use"
        return Refusal(Reason.POOL_IN_USE, message, "name", command.name)
    return (PoolDeleted(name=command.name),)


def conflict(state: State, spec: PoolSpec) -> Refusal | None:
    """What a pool would share that it may not, or has that its subnet does not have."""
    return _overlaps(state, spec) or _overlaps_subnet(state, spec) or outside_subnet(state, spec)


def _beside_auto(existing: Pool | None, command: ApplyPool) -> PoolSpec | Refusal:
    """The specification as asked, with what only the engine sets, or what may not be asked."""
    asked, auto = command.pool, existing.spec.auto if existing else None
    if asked.auto not in (None, auto):
        return invalid("spec.auto", asked.auto, "is the engine's to set")
    if existing is None:
        return asked
    if existing.terminating:
        message = f"pool {asked.name!r} is terminating and cannot be changed"
        return Refusal(Reason.POOL_TERMINATING, message, "metadata.name", asked.name)
    return asked if auto is None else _of_auto(existing.spec, auto, command)


def _of_auto(has: PoolSpec, auto: AutoPool, command: ApplyPool) -> PoolSpec | Refusal:
    asked = command.pool
    owner = f"{auto.owner.kind} {auto.namespace}/{auto.owner.name}"
    if (asked.ips, asked.exclude_ips) != (has.ips, has.exclude_ips):
        text = ",".join(asked.ips)
        message = f"spec.ips: {text!r}: the addresses of an auto pool follow {owner}"
        return Refusal(Reason.AUTO_POOL, message, "spec.ips", text)
    if asked.pod_affinity is not None:
        message = f"spec.podAffinity: {{}}: an auto pool serves {owner} alone"
        return Refusal(Reason.AUTO_POOL, message, "spec.podAffinity", "{}")
    if command.reclaim is not None:
        auto = msgspec.structs.replace(auto, reclaim=command.reclaim)
    return msgspec.structs.replace(asked, auto=auto)


def _reclaimed(state: State, spec: PoolSpec) -> tuple[AnyEvent, ...]:
    """The end of a pool that was kept for an application that is gone, and is so no longer."""
    key = auto_key(spec)
    if key is None or spec.auto is None or not spec.auto.reclaim:
        return ()
    return () if key.application in state.applications else ended(state, spec.name)


def _immutable(pool: Pool, spec: PoolSpec) -> Refusal | None:
    if pool.spec.subnet == spec.subnet:
        return None
    message = f"spec.subnet: cannot change from {pool.spec.subnet} to {spec.subnet!r}"
    return Refusal(Reason.FIELD_IMMUTABLE, message, "spec.subnet", spec.subnet)


def _removes_held(state: State, pool: Pool, spec: PoolSpec) -> Refusal | None:
    addresses = usable(spec)
    removed = min((a for a in pool.taken if not contains(addresses, a)), default=None)
    if removed is None:
        return None
    text = format_ip(spec.ip_version, removed)
    holder = state.allocations.numbered(pool.taken[removed])
    field = "spec.excludeIPs" if spec.ips == pool.spec.ips else "spec.ips"
    message = f"{field}: would remove {text}, which pod {holder.pod} ({holder.id}) is using"
    return Refusal(Reason.ADDRESS_IN_USE, message, field, text)


def _overlaps(state: State, spec: PoolSpec) -> Refusal | None:
    addresses = usable(spec)
    directory = state.directory
    for prefix in directory.prefixes.overlapping(spec.subnet):
        names = directory.by_prefix[prefix]
        if prefix != spec.subnet:
            refusal = _overlaps_prefix(spec, prefix, f"pool {names[0]!r}")
        else:
            others = (state.pools[name] for name in names if name != spec.name)
            refusal = next(filter(None, (_shares(spec, addresses, pool) for pool in others)), None)
        if refusal is not None:
            return refusal
    return None


def _overlaps_subnet(state: State, spec: PoolSpec) -> Refusal | None:
    """A refusal where a pool's prefix is part of a subnet's, or the other way round.

    The subnet would give addresses to its auto pools that this one has (invariant 3).
    """
    for _, subnet in sorted(state.subnets.items()):
        refusal = _overlaps_prefix(spec, subnet.subnet, f"subnet {subnet.name!r}")
        if subnet.subnet != spec.subnet and refusal is not None:
            return refusal
    return None


def _overlaps_prefix(spec: PoolSpec, prefix: str, other: str) -> Refusal | None:
    if (":" in prefix) != (":" in spec.subnet):
        return None
    if overlap((network(spec.subnet),), (network(prefix),)) is None:
        return None
    message = f"spec.subnet: {spec.subnet!r} overlaps with {other}, whose subnet is {prefix}"
    return Refusal(Reason.POOL_OVERLAP, message, "spec.subnet", spec.subnet)


def _shares(spec: PoolSpec, addresses: Intervals, other: Pool) -> Refusal | None:
    shared = overlap(addresses, other.usable)
    if shared is None:
        return None
    [text] = texts_of((shared,), spec.ip_version)
    message = (
        f"spec.ips: {text!r} belongs to pool {other.spec.name!r} already "
        "(the addresses of a pool are spec.ips minus spec.excludeIPs)"
    )
    return Refusal(Reason.POOL_OVERLAP, message, "spec.ips", text)
