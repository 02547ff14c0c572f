"""Deciding changes of subnets, and what a pool owes to the subnet of its prefix."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ipledger.engine.commands import ApplySubnet, DeleteSubnet
from ipledger.engine.pool_checks import checked
from ipledger.engine.refusals import Reason, Refusal, invalid
from ipledger.events.facts import PoolSpec, SubnetSpec
from ipledger.events.types import (
    AnyEvent,
    PoolUpdated,
    SubnetCreated,
    SubnetDeleted,
    SubnetUpdated,
)
from ipledger.projections.pool import Pool
from ipledger.projections.ranges import Intervals, merged, minus, network, overlap, texts_of, usable
from ipledger.projections.state import State

_INHERITABLE = ("gateway", "routes")


def apply_subnet(state: State, command: ApplySubnet) -> tuple[AnyEvent, ...] | Refusal:
    """Create a subnet, change it, or find that it is so already; refuse what breaks a rule.

    Its pools follow (ADR 120). They need no check: their addresses are the subnet's, among which
    neither its gateway nor anything outside its prefix can be.
    """
    spec = checked(command.subnet)
    if isinstance(spec, Refusal):
        return spec
    existing = state.subnets.get(spec.name)
    if existing == spec:
        return ()
    if existing is not None and existing.subnet != spec.subnet:
        message = f"spec.subnet: cannot change from {existing.subnet} to {spec.subnet!r}"
        return Refusal(Reason.FIELD_IMMUTABLE, message, "spec.subnet", spec.subnet)
    refusal = next(_conflicts(state, spec, existing is not None), None)
    if refusal is not None:
        return refusal
    event = SubnetUpdated(subnet=spec) if existing else SubnetCreated(subnet=spec)
    return (event, *_following(state, spec))


def delete_subnet(state: State, command: DeleteSubnet) -> tuple[AnyEvent, ...] | Refusal:
    """Delete a subnet that exists and has no pools."""
    spec = state.subnets.get(command.name)
    if spec is None:
        message = f"no subnet {command.name!r}"
        return Refusal(Reason.SUBNET_UNKNOWN, message, "name", command.name)
    pools = [pool.spec.name for pool in pools_of(state, spec)]
    if pools:
        message = f"subnet {command.name!r} cannot be deleted: it has pools {', '.join(pools)}"
        return Refusal(Reason.SUBNET_IN_USE, message, "name", command.name)
    return (SubnetDeleted(name=command.name),)


def pools_of(state: State, subnet: SubnetSpec) -> list[Pool]:
    """The pools of a subnet's prefix, by name."""
    return [state.pools[name] for name in state.directory.by_prefix.get(subnet.subnet, ())]


def free_of(state: State, subnet: SubnetSpec) -> Intervals:
    """The addresses of a subnet that no pool has and no reservation names."""
    taken = merged(part for pool in pools_of(state, subnet) for part in pool.usable)
    return minus(minus(usable(subnet), taken), state.reserved[subnet.ip_version])


def subnet_of(state: State, cidr: str) -> SubnetSpec | None:
    """The subnet with a prefix; there is one at most."""
    return next((subnet for subnet in state.subnets.values() if subnet.subnet == cidr), None)


def completed(state: State, asked: PoolSpec) -> PoolSpec | Refusal:
    """A pool with its subnet's gateway and routes where it has none, or what is wrong with it."""
    if asked.inherited:
        return invalid("spec.inherited", ",".join(asked.inherited), "is the engine's to set")
    subnet = subnet_of(state, asked.subnet)
    return checked(asked if subnet is None else _inheriting(asked, subnet))


def as_asked(spec: PoolSpec) -> PoolSpec:
    """A pool as it was asked for: without what it has from its subnet."""
    return msgspec.structs.replace(
        spec,
        gateway="" if "gateway" in spec.inherited else spec.gateway,
        routes=() if "routes" in spec.inherited else spec.routes,
        inherited=(),
    )


def _inheriting(asked: PoolSpec, subnet: SubnetSpec) -> PoolSpec:
    lacking = [name for name in _INHERITABLE if not getattr(asked, name)]
    taken = {name: value for name in lacking if (value := getattr(subnet, name))}
    return msgspec.structs.replace(asked, inherited=tuple(taken), **taken)


def _following(state: State, subnet: SubnetSpec) -> Iterator[PoolUpdated]:
    """The pools that have something else from their subnet once it is like this."""
    for pool in pools_of(state, subnet):
        spec = _inheriting(as_asked(pool.spec), subnet)
        if spec != pool.spec and not pool.terminating:
            yield PoolUpdated(pool=spec)


def outside_subnet(state: State, spec: PoolSpec) -> Refusal | None:
    """A refusal where a pool has addresses that the subnet of its prefix does not have."""
    subnet = subnet_of(state, spec.subnet)
    if subnet is None:
        return None
    text = _first(spec.ip_version, minus(usable(spec), usable(subnet)))
    if not text:
        return None
    message = f"spec.ips: {text!r} is not among the addresses of subnet {subnet.name!r}"
    return Refusal(Reason.OUTSIDE_SUBNET, message, "spec.ips", text)


def _conflicts(state: State, spec: SubnetSpec, exists: bool) -> Iterator[Refusal]:
    prefix = (network(spec.subnet),)
    for _, other in sorted(state.subnets.items()):
        same_family = other.name != spec.name and other.ip_version == spec.ip_version
        if same_family and overlap(prefix, (network(other.subnet),)):
            message = (
                f"spec.subnet: {spec.subnet!r} overlaps with subnet {other.name!r}, "
                f"whose subnet is {other.subnet}"
            )
            yield Refusal(Reason.SUBNET_OVERLAP, message, "spec.subnet", spec.subnet)
    addresses = usable(spec)
    for _, pool in sorted(state.pools.items()):
        if pool.spec.ip_version == spec.ip_version:
            yield from _pool_conflicts(spec, addresses, pool, exists)


def _pool_conflicts(
    spec: SubnetSpec, addresses: Intervals, pool: Pool, exists: bool
) -> Iterator[Refusal]:
    """What a pool has against a subnet: half its prefix, or addresses that the subnet has not."""
    if pool.spec.subnet != spec.subnet:
        if overlap((network(spec.subnet),), (network(pool.spec.subnet),)):
            message = (
                f"spec.subnet: {spec.subnet!r} overlaps with pool {pool.spec.name!r}, "
                f"whose subnet is {pool.spec.subnet}"
            )
            yield Refusal(Reason.SUBNET_OVERLAP, message, "spec.subnet", spec.subnet)
        return
    text = _first(spec.ip_version, minus(pool.usable, addresses))
    if text:
        what = "would remove" if exists else "does not have"
        message = f"spec.ips: {what} {text}, which pool {pool.spec.name!r} has"
        yield Refusal(Reason.SUBNET_IN_USE, message, "spec.ips", text)


def _first(ip_version: int, intervals: Intervals) -> str:
    """The first stretch of addresses as text, '' if there is none."""
    return next(iter(texts_of(intervals[:1], ip_version)), "")
