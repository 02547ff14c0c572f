"""Deciding quarantine: an address that something else answers to is given to nobody (ADR 82).

An operator may quarantine any address of a pool. An agent tells of a conflict on an address that
its own pod has, and in the same commit the interface gets another one.
"""

from __future__ import annotations

from ipledger.engine.commands import Allocate, Conflict, QuarantineAddress, RestoreAddress
from ipledger.engine.refusals import Reason, Refusal
from ipledger.engine.selection import Selected
from ipledger.events.addresses import format_ip, parse_ip
from ipledger.events.quoting import quote
from ipledger.events.types import AddressQuarantined, AddressRestored, AnyEvent
from ipledger.projections.allocations import Allocation
from ipledger.projections.ranges import Intervals, merged
from ipledger.projections.state import State


def quarantine_address(state: State, command: QuarantineAddress) -> tuple[AnyEvent, ...] | Refusal:
    """An operator's quarantine of an address of a pool; nothing where it is in one already."""
    address = _parsed(command.address)
    if isinstance(address, Refusal) or address in state.quarantined:
        return address if isinstance(address, Refusal) else ()
    if state.pool_of(*address) is None:
        message = f"address: {command.address!r} is in no pool"
        return Refusal(Reason.ADDRESS_OUTSIDE_POOL, message, "address", command.address)
    text = format_ip(*address)
    return (AddressQuarantined(address=text, mac=command.mac, evidence=command.evidence),)


def restore_address(state: State, command: RestoreAddress) -> tuple[AnyEvent, ...] | Refusal:
    """The end of a quarantine; nothing where there is none."""
    address = _parsed(command.address)
    if isinstance(address, Refusal):
        return address
    if address not in state.quarantined:
        return ()
    return (AddressRestored(address=format_ip(*address), evidence=command.evidence),)


def _parsed(text: str) -> tuple[int, int] | Refusal:
    try:
        return parse_ip(text)
    except ValueError:
        message = f"address: {quote(text)} is no IP address"
        return Refusal(Reason.BAD_REQUEST, message, "address", text)


def conflicts_of(held: Allocation, command: Allocate) -> tuple[Conflict, ...] | Refusal:
    """The conflicts that are about addresses of an allocation. Others are over, or others' affair:
    an agent has a say in what its own pods hold, and nothing else."""
    has = {(address.terms.ip_version, address.value) for address in held.addresses}
    found: list[Conflict] = []
    for conflict in command.conflicts:
        address = _parsed(conflict.address)
        if isinstance(address, Refusal):
            return address
        if address in has:
            found.append(conflict)
    return tuple(found)


def quarantined(
    state: State, held: Allocation, conflicts: tuple[Conflict, ...], command: Allocate
) -> tuple[AnyEvent, ...]:
    """The quarantines of an allocation's addresses, each once."""
    by_address = {parse_ip(conflict.address): conflict for conflict in reversed(conflicts)}
    return tuple(
        AddressQuarantined(
            address=format_ip(*address),
            node=command.node,
            allocation=held.id,
            mac=conflict.mac,
            seen=conflict.seen,
            traceparent=command.traceparent,
        )
        for address, conflict in by_address.items()
        if address not in state.quarantined
    )


def without(
    state: State, selected: Selected, held: Allocation, conflicts: tuple[Conflict, ...] = ()
) -> Selected:
    """The candidates as they are once an allocation has given its addresses back, and what
    conflicts of them is quarantined."""
    drafts = dict(selected.drafts)
    for address in held.addresses:
        pool = drafts.get(address.pool) or state.pools[address.pool]
        draft = pool.drafted(pool.spec, _reserved(state, pool.spec.ip_version, conflicts))
        draft.taken = dict(draft.taken)
        draft.give_back(address.value, held.identity)
        drafts[address.pool] = draft
    return selected._replace(drafts=drafts)


def _reserved(state: State, ip_version: int, conflicts: tuple[Conflict, ...]) -> Intervals:
    more = [value for of, value in (parse_ip(c.address) for c in conflicts) if of == ip_version]
    return merged((*state.reserved[ip_version], *((value, value) for value in more)))
