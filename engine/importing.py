"""Deciding what is taken over from another system: it is believed, but not against the rules.

The address was chosen elsewhere, so that no rule of selection is asked. What another holds, or
what is none of the pool's, is refused (invariants 1, 2 and 8); a reserved address may be taken
over, as whoever holds one keeps it.
"""

from __future__ import annotations

from collections.abc import Iterator

from ipledger.engine.commands import ImportAllocation
from ipledger.engine.refusals import Reason, Refusal
from ipledger.engine.routes import routes_of
from ipledger.events.addresses import format_ip, parse_ip
from ipledger.events.facts import Address, Route
from ipledger.events.types import AllocationImported, AnyEvent
from ipledger.projections.allocations import Allocation
from ipledger.projections.applications import key_of_owner
from ipledger.projections.fixed import exists, place_of
from ipledger.projections.pool import Pool
from ipledger.projections.ranges import contains, parse_ranges
from ipledger.projections.state import State


def unknown_sandbox(uid: str) -> str:
    """What stands for the container id of a pod's sandbox that nobody told.

    It is no container id: those have no colon (CNI specification, CNI_CONTAINERID).
    """
    return f"pod:{uid}"


def import_allocation(state: State, command: ImportAllocation) -> tuple[AnyEvent, ...] | Refusal:
    """Take an allocation over, find that it was already, or refuse what contradicts the rest."""
    refusal = next(_malformed(command), None)
    if refusal is not None:
        return refusal
    known = state.allocations.of((command.pod.uid, command.interface))
    if known is not None:
        return () if _is_same(known, command) else _has_others(known, command)
    refusal = next(_faults(state, command), None)
    if refusal is not None:
        return refusal
    return (
        AllocationImported(
            allocation=f"a{state.allocated_ever + 1}",
            pod=command.pod,
            node=command.node,
            sandbox="" if command.held else unknown_sandbox(command.pod.uid),
            interface=command.interface,
            addresses=command.addresses,
            source=command.source,
            network=command.network,
            owner=command.owner,
            slot=command.slot,
            routes=_routes(state, command),
            traceparent=command.traceparent,
        ),
    )


def _routes(state: State, command: ImportAllocation) -> tuple[Route, ...]:
    pools = tuple(state.pools[address.pool] for address in command.addresses)
    return routes_of(pools, command.routes, clean_gateway=command.clean_gateway)


def _malformed(command: ImportAllocation) -> Iterator[Refusal]:
    """What is wrong with the command whatever the state is."""
    if not command.pod.uid:
        message = "pod.uid: '' says nothing of whose the addresses are"
        yield Refusal(Reason.BAD_REQUEST, message, "pod.uid")
    if not command.addresses:
        yield Refusal(Reason.BAD_REQUEST, "addresses: there are none", "addresses")
    for index, route in enumerate(command.routes):
        if not (_is_ip(route.gw) and _is_ip(route.dst.partition("/")[0])):
            text = f"{route.dst} via {route.gw}"
            what = f"routes[{index}]: {text!r} is not a prefix and an address"
            yield Refusal(Reason.BAD_REQUEST, what, f"routes[{index}]", text)
    seen: set[int] = set()
    for index, address in enumerate(command.addresses):
        field = f"addresses[{index}]"
        try:
            ip_version, value = parse_ip(address.ip)
            is_canonical = format_ip(ip_version, value) == address.ip
        except ValueError:
            ip_version, is_canonical = 0, False
        length = address.address.partition("/")[2]
        if not is_canonical or not length.isdecimal():
            what = f"{field}.address: {address.address!r} is not an address and prefix length"
            yield Refusal(Reason.BAD_REQUEST, what, f"{field}.address", address.address)
        elif ip_version in seen:
            what = f"{field}.address: {address.address!r} is a second one of IPv{ip_version}"
            yield Refusal(Reason.BAD_REQUEST, what, f"{field}.address", address.address)
        elif not _is_gateway(address.gateway, ip_version):
            what = f"{field}.gateway: {address.gateway!r} is not an IPv{ip_version} address"
            yield Refusal(Reason.BAD_REQUEST, what, f"{field}.gateway", address.gateway)
        seen.add(ip_version)


def _is_ip(text: str) -> bool:
    try:
        parse_ip(text)
    except ValueError:
        return False
    return True


def _is_gateway(text: str, ip_version: int) -> bool:
    try:
        return not text or parse_ip(text)[0] == ip_version
    except ValueError:
        return False


def _is_same(known: Allocation, command: ImportAllocation) -> bool:
    """Whether the interface has these very addresses on this node; its sandbox may be known now."""
    has = {(held.pool, held.ip) for held in known.addresses}
    return known.node == command.node and has == {(a.pool, a.ip) for a in command.addresses}


def _has_others(known: Allocation, command: ImportAllocation) -> Refusal:
    asked = ",".join(address.ip for address in command.addresses)
    has = ",".join(held.ip for held in known.addresses)
    message = (
        f"addresses: {asked!r} on node {command.node}, but pod {known.pod} interface "
        f"{known.interface} has {has} on node {known.node} ({known.id})"
    )
    return Refusal(Reason.ALREADY_ALLOCATED, message, "addresses", asked)


def _faults(state: State, command: ImportAllocation) -> Iterator[Refusal]:
    yield from _place_faults(state, command)
    for index, address in enumerate(command.addresses):
        field = f"addresses[{index}]"
        pool = state.pools.get(address.pool)
        if pool is None:
            message = f"{field}.pool: no pool {address.pool!r}"
            yield Refusal(Reason.POOL_UNKNOWN, message, f"{field}.pool", address.pool)
        else:
            yield from _pool_faults(pool, command, f"{field}.pool")
            yield from _address_faults(state, pool, address, f"{field}.address")


def _place_faults(state: State, command: ImportAllocation) -> Iterator[Refusal]:
    place = place_of(command.owner, command.pod.namespace, command.pod.name)
    held = state.allocations.in_place(place, command.interface) if place else None
    if held is not None:
        message = f"pod: {command.pod.uid!r}: the place of {command.pod} is pod {held.pod.uid}'s"
        yield Refusal(Reason.ALREADY_ALLOCATED, f"{message} ({held.id})", "pod", command.pod.uid)
    if command.held:
        application = state.applications.get(place.application) if place else None
        if place is None or not exists(place, application):
            message = f"held: 'true', but there is no place for a pod {command.pod}"
            yield Refusal(Reason.PLACE_UNKNOWN, message, "held", "true")


def _pool_faults(pool: Pool, command: ImportAllocation, field: str) -> Iterator[Refusal]:
    name, auto = pool.spec.name, pool.spec.auto
    if pool.terminating:
        message = f"{field}: {name!r} is terminating"
        yield Refusal(Reason.POOL_TERMINATING, message, field, name)
    if auto is not None:
        owner, namespace = command.owner, command.pod.namespace
        if owner is None or key_of_owner(owner, namespace) != key_of_owner(
            auto.owner, auto.namespace
        ):
            message = f"{field}: {name!r} serves {auto.owner.kind} {auto.owner.name} alone"
            yield Refusal(Reason.AUTO_POOL, message, field, name)


def _address_faults(state: State, pool: Pool, address: Address, field: str) -> Iterator[Refusal]:
    spec, text = pool.spec, address.address
    ip_version, value = parse_ip(address.ip)
    length = spec.subnet.partition("/")[2]
    if ip_version != spec.ip_version or text.partition("/")[2] != length:
        message = f"{field}: {text!r} is not of the subnet {spec.subnet} of pool {spec.name!r}"
        yield Refusal(Reason.ADDRESS_OUTSIDE_POOL, message, field, text)
    elif not contains(pool.usable, value):
        excluded = contains(parse_ranges(spec.exclude_ips, spec.ip_version), value)
        why = "is among the excludeIPs" if excluded else "is not an address"
        message = f"{field}: {text!r} {why} of pool {spec.name!r}"
        yield Refusal(Reason.ADDRESS_OUTSIDE_POOL, message, field, text)
    elif value in pool.taken:
        holder = state.allocations.numbered(pool.taken[value])
        message = f"{field}: {text!r} is held by pod {holder.pod} ({holder.id})"
        yield Refusal(Reason.ADDRESS_IN_USE, message, field, text)
