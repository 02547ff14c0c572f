"""A second, slow and obviously right telling of what the log means, from its events alone.

It shares no code with `projections`: addresses are `ipaddress` objects, a pool is a test on its
texts, facts are a dict that is copied at each event. What it cannot follow is an
`AssertionError` that cites the invariant of DESIGN section 12.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import combinations
from types import MappingProxyType
from typing import NamedTuple, TypeAlias, TypeVar

from ipledger.events.facts import PoolSpec
from ipledger.events.types import (
    AddressesAllocated,
    AddressesReleased,
    AllocationRebound,
    AnyEvent,
    AttachmentDeleted,
    PoolCreated,
    PoolDeleted,
    PoolUpdated,
)

Ip: TypeAlias = IPv4Address | IPv6Address
V = TypeVar("V")

FENCE_MICROS = 120_000_000
"""How long an ended attachment refuses an ADD (DESIGN section 7, twice the agent's timeout)."""


class Live(NamedTuple):
    """An allocation that holds its addresses: pairs of pool and address."""

    identity: tuple[str, str]
    node: str
    sandbox: str
    addresses: tuple[tuple[str, Ip], ...]


class Freed(NamedTuple):
    """An address of a pool that was used and is free: who had it last."""

    pool: str
    address: Ip
    identity: tuple[str, str]


class Facts(NamedTuple):
    """All that is true at a position. `freed` is in order of release, `ended` by attachment."""

    pools: MappingProxyType[str, PoolSpec] = MappingProxyType({})
    live: MappingProxyType[str, Live] = MappingProxyType({})
    over: frozenset[str] = frozenset()
    freed: tuple[Freed, ...] = ()
    ended: MappingProxyType[tuple[str, str], int] = MappingProxyType({})


def covers(spec: PoolSpec, address: Ip) -> bool:
    """Whether an address is one of the pool's: in `ips` and not in `excludeIPs`."""
    return _in_any(spec.ips, address) and not _in_any(spec.exclude_ips, address)


def addresses_of(spec: PoolSpec) -> list[Ip]:
    """Every address of a small pool, ascending."""
    found: set[Ip] = set()
    for text in spec.ips:
        first, last = _ends(text)
        found |= {type(first)(value) for value in range(int(first), int(last) + 1)}
    return sorted((a for a in found if covers(spec, a)), key=int)


def replay(facts: Facts, event: AnyEvent, time: int) -> Facts:
    """The facts behind an event that was committed at a time."""
    match event:
        case PoolCreated():
            assert event.pool.name not in facts.pools, "a pool is created once"
            return _with_pool(facts, event.pool)
        case PoolUpdated():
            assert event.pool.name in facts.pools, "only a pool that exists is updated"
            return _with_pool(facts, event.pool)
        case PoolDeleted():
            return _without_pool(facts, event.name)
        case AddressesAllocated():
            return _allocated(facts, event)
        case AllocationRebound():
            old = facts.live[event.allocation]
            new = old._replace(sandbox=event.sandbox)
            facts = _ended(facts, (old.sandbox, old.identity[1]), time)
            return facts._replace(live=_set(facts.live, event.allocation, new))
        case AddressesReleased():
            return _released(facts, event, time)
        case AttachmentDeleted():
            return _ended(facts, (event.sandbox, event.interface), time)
        case _:
            return facts


def check(facts: Facts) -> None:
    """Invariants 1, 2, 3 and 8 at a position."""
    held = [(pool, address) for live in facts.live.values() for pool, address in live.addresses]
    assert len({address for _, address in held}) == len(held), "invariant 1: one holder"
    for pool, address in held:
        assert pool in facts.pools, "invariant 3: a held address lost its pool"
        assert covers(facts.pools[pool], address), "invariant 2: outside its pool"
    for left, right in combinations(facts.pools.values(), 2):
        shared = [e for e in _edges(left) + _edges(right) if covers(left, e) and covers(right, e)]
        assert not shared, f"invariant 3: {left.name} and {right.name} share {shared}"
    identities = [live.identity for live in facts.live.values()]
    assert len(set(identities)) == len(identities), "invariant 8: one allocation an identity"


def free(facts: Facts, pool: str) -> list[Ip]:
    """The addresses of a small pool that nobody holds, ascending."""
    held = {address for live in facts.live.values() for _, address in live.addresses}
    return [address for address in addresses_of(facts.pools[pool]) if address not in held]


def is_fenced(facts: Facts, sandbox: str, interface: str, now: int) -> bool:
    """Whether an ADD for an attachment comes behind its DEL, and not long enough behind."""
    ended_at = facts.ended.get((sandbox, interface))
    return ended_at is not None and now - ended_at < FENCE_MICROS


def is_small(spec: PoolSpec) -> bool:
    """Whether the pool is small enough to be counted address by address."""
    return all(int(last) - int(first) < 1000 for first, last in map(_ends, spec.ips))


def next_address(facts: Facts, pool: str, identity: tuple[str, str]) -> Ip | None:
    """What a small pool must give to an identity: its own last, then unused, then oldest free."""
    freed = [f for f in facts.freed if f.pool == pool]
    own = [f.address for f in freed if f.identity == identity]
    used = {f.address for f in freed}
    unused = [address for address in free(facts, pool) if address not in used]
    choices = [*reversed(own), *unused, *(f.address for f in freed)]
    return choices[0] if choices else None


def _with_pool(facts: Facts, spec: PoolSpec) -> Facts:
    freed = tuple(f for f in facts.freed if f.pool != spec.name or covers(spec, f.address))
    return facts._replace(pools=_set(facts.pools, spec.name, spec), freed=freed)


def _without_pool(facts: Facts, name: str) -> Facts:
    pools = MappingProxyType({k: v for k, v in facts.pools.items() if k != name})
    return facts._replace(pools=pools, freed=tuple(f for f in facts.freed if f.pool != name))


def _allocated(facts: Facts, event: AddressesAllocated) -> Facts:
    assert event.allocation not in facts.live, "an allocation id is used once"
    assert event.allocation not in facts.over, "an allocation id is used once"
    addresses = tuple((held.pool, ip_address(held.ip)) for held in event.addresses)
    identity = (event.pod.uid, event.interface)
    live = Live(identity, event.node, event.sandbox, addresses)
    freed = tuple(f for f in facts.freed if (f.pool, f.address) not in addresses)
    return facts._replace(live=_set(facts.live, event.allocation, live), freed=freed)


def _released(facts: Facts, event: AddressesReleased, time: int) -> Facts:
    assert event.allocation not in facts.over, "invariant 7: released twice"
    assert event.allocation in facts.live, "invariant 7: it was not live"
    ended = facts.live[event.allocation]
    assert event.sandbox == ended.sandbox, "invariant 7: of another sandbox"
    live = MappingProxyType({k: v for k, v in facts.live.items() if k != event.allocation})
    freed = tuple(Freed(pool, address, ended.identity) for pool, address in ended.addresses)
    facts = _ended(facts, (ended.sandbox, ended.identity[1]), time)
    return facts._replace(
        live=live, over=facts.over | {event.allocation}, freed=facts.freed + freed
    )


def _ended(facts: Facts, attachment: tuple[str, str], time: int) -> Facts:
    return facts._replace(ended=MappingProxyType({**facts.ended, attachment: time}))


def _set(facts: MappingProxyType[str, V], key: str, value: V) -> MappingProxyType[str, V]:
    return MappingProxyType({**facts, key: value})


def _ends(text: str) -> tuple[Ip, Ip]:
    first, _, last = text.partition("-")
    return ip_address(first), ip_address(last or first)


def _in_any(texts: tuple[str, ...], address: Ip) -> bool:
    ends = [(first, last) for first, last in map(_ends, texts) if first.version == address.version]
    return any(int(first) <= int(address) <= int(last) for first, last in ends)


def _edges(spec: PoolSpec) -> list[Ip]:
    """Where two pools that share anything share something: ends of ranges, and next to gaps."""
    edges: list[Ip] = []
    for first, last in map(_ends, spec.ips):
        edges += [first, last]
    for first, last in map(_ends, spec.exclude_ips):
        edges += [type(first)(max(int(first) - 1, 0))]
        edges += [type(last)(min(int(last) + 1, 2**last.max_prefixlen - 1))]
    return edges
