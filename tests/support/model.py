"""A second, slow and obviously right telling of what the log means, from its events alone.

It shares no code with `projections`: addresses are `ipaddress` objects, a pool is a test on its
texts, facts are a dict that is copied at each event. What it cannot follow is an
`AssertionError` that cites the invariant of DESIGN section 12.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import combinations
from types import MappingProxyType
from typing import NamedTuple, TypeAlias, TypeVar

from ipledger.events.facts import (
    AddressSpace,
    Application,
    Owner,
    Pod,
    PoolSpec,
    ReservationSpec,
    SubnetSpec,
)
from ipledger.events.types import (
    AddressesAllocated,
    AddressesHeld,
    AddressesReleased,
    AddressQuarantined,
    AddressRestored,
    AllocationImported,
    AllocationRebound,
    AnyEvent,
    ApplicationCreated,
    ApplicationDeleted,
    ApplicationUpdated,
    AttachmentDeleted,
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

Ip: TypeAlias = IPv4Address | IPv6Address
Key: TypeAlias = tuple[str, str, str, str]
"""Group, kind, namespace and name of an application; both kinds of a virtual machine are one."""
K = TypeVar("K")
V = TypeVar("V")

FENCE_MICROS = 120_000_000
"""How long an ended attachment refuses an ADD (DESIGN section 7, twice the agent's timeout)."""


class Live(NamedTuple):
    """An allocation that holds its addresses: pairs of pool and address.

    Without a sandbox it is kept for the next pod. `pod` and `owner` say in which place. `bound` is
    when its sandbox came.
    """

    identity: tuple[str, str]
    node: str
    sandbox: str
    addresses: tuple[tuple[str, Ip], ...]
    pod: Pod
    owner: Owner | None
    network: str
    bound: int


class Freed(NamedTuple):
    """An address of a pool that was used and is free: who had it last."""

    pool: str
    address: Ip
    identity: tuple[str, str]


class Facts(NamedTuple):
    """All that is true at a position. `freed` is in order of release, `ended` by attachment."""

    pools: MappingProxyType[str, PoolSpec] = MappingProxyType({})
    reservations: MappingProxyType[str, ReservationSpec] = MappingProxyType({})
    subnets: MappingProxyType[str, SubnetSpec] = MappingProxyType({})
    applications: MappingProxyType[Key, Application] = MappingProxyType({})
    live: MappingProxyType[str, Live] = MappingProxyType({})
    over: frozenset[str] = frozenset()
    freed: tuple[Freed, ...] = ()
    ended: MappingProxyType[tuple[str, str], int] = MappingProxyType({})
    terminating: frozenset[str] = frozenset()
    quarantined: frozenset[Ip] = frozenset()


def covers(spec: AddressSpace, address: Ip) -> bool:
    """Whether an address is one of the pool's: in `ips` and not in `excludeIPs`."""
    return _in_any(spec.ips, address) and not _in_any(spec.exclude_ips, address)


def addresses_of(spec: PoolSpec) -> list[Ip]:
    """Every address of a small pool, ascending."""
    found: set[Ip] = set()
    for text in spec.ips:
        first, last = _ends(text)
        found |= {type(first)(value) for value in range(int(first), int(last) + 1)}
    return sorted((a for a in found if covers(spec, a)), key=int)


def is_reserved(facts: Facts, address: Ip) -> bool:
    """Whether any reservation names an address, or it is quarantined: it is not given out."""
    return address in facts.quarantined or any(
        _in_any(spec.ips, address) for spec in facts.reservations.values()
    )


def replay(facts: Facts, event: AnyEvent, time: int) -> Facts:
    """The facts behind an event that was committed at a time."""
    match event:
        case AddressesAllocated() | AllocationImported():
            return _allocated(facts, event, time)
        case AllocationRebound():
            return _rebound(facts, event, time)
        case AddressesHeld():
            old = facts.live[event.allocation]
            assert old.sandbox == event.sandbox != "", "what a sandbox has is kept"
            facts = _ended(facts, (old.sandbox, old.identity[1]), time)
            return facts._replace(live=_set(facts.live, event.allocation, old._replace(sandbox="")))
        case AddressesReleased():
            return _released(facts, event, time)
        case AddressQuarantined() | AddressRestored():
            return _quarantined(facts, event)
        case AttachmentDeleted():
            return _ended(facts, (event.sandbox, event.interface), time)
        case _:
            return _resource(facts, event)


def _resource(facts: Facts, event: AnyEvent) -> Facts:
    match event:
        case PoolCreated() | PoolUpdated():
            is_new = event.pool.name not in facts.pools
            assert is_new == isinstance(event, PoolCreated), "created once, updated if it exists"
            assert event.pool.name not in facts.terminating, "what terminates does not change"
            return _with_pool(facts, event.pool)
        case PoolTerminating():
            assert event.name in facts.pools.keys() - facts.terminating, "it terminates once"
            return facts._replace(terminating=facts.terminating | {event.name})
        case PoolDeleted():
            return _without_pool(facts, event.name)
        case ReservationCreated() | ReservationUpdated() | ReservationDeleted():
            return _reserved(facts, event)
        case SubnetCreated() | SubnetUpdated() | SubnetDeleted():
            return _subnet(facts, event)
        case ApplicationCreated() | ApplicationUpdated() | ApplicationDeleted():
            return _application(facts, event)
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
    for subnet in facts.subnets.values():
        for child in (p for p in facts.pools.values() if p.subnet == subnet.subnet):
            edges = [e for e in _edges(child) + _edges(subnet) if covers(child, e)]
            assert all(covers(subnet, e) for e in edges), f"{child.name} is beyond {subnet.name}"
    identities = [live.identity for live in facts.live.values()]
    assert len(set(identities)) == len(identities), "invariant 8: one allocation an identity"


def free(facts: Facts, pool: str) -> list[Ip]:
    """The addresses of a small pool that nobody holds and nothing reserves, ascending."""
    held = {address for live in facts.live.values() for _, address in live.addresses}
    unheld = [address for address in addresses_of(facts.pools[pool]) if address not in held]
    return [address for address in unheld if not is_reserved(facts, address)]


def unlisted(
    facts: Facts, node: str, network: str, listed: set[tuple[str, str]], now: int
) -> set[str]:
    """The attachments to a network that a node's runtime had time to list and did not list."""
    return {
        name
        for name, live in facts.live.items()
        if (live.node, live.network) == (node, network)
        and live.sandbox
        and (live.sandbox, live.identity[1]) not in listed
        and now - live.bound >= FENCE_MICROS
    }


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
    freed = tuple(f for f in facts.freed if f.pool != name)
    return facts._replace(pools=pools, freed=freed, terminating=facts.terminating - {name})


def _subnet(facts: Facts, event: SubnetCreated | SubnetUpdated | SubnetDeleted) -> Facts:
    known = facts.subnets
    if isinstance(event, SubnetDeleted):
        assert event.name in known, "only a subnet that exists is deleted"
        rest = {name: spec for name, spec in known.items() if name != event.name}
        return facts._replace(subnets=MappingProxyType(rest))
    assert (event.subnet.name in known) != isinstance(event, SubnetCreated), "created once"
    return facts._replace(subnets=_set(known, event.subnet.name, event.subnet))


def _reserved(
    facts: Facts, event: ReservationCreated | ReservationUpdated | ReservationDeleted
) -> Facts:
    """What is reserved is as if it had never been used once it is not reserved any more."""
    known = facts.reservations
    if isinstance(event, ReservationDeleted):
        assert event.name in known, "only a reservation that exists is deleted"
        known = MappingProxyType({k: v for k, v in known.items() if k != event.name})
    else:
        is_new = isinstance(event, ReservationCreated)
        assert (event.reservation.name in known) != is_new, "created once, updated if it exists"
        known = _set(known, event.reservation.name, event.reservation)
    facts = facts._replace(reservations=known)
    freed = tuple(f for f in facts.freed if not is_reserved(facts, f.address))
    return facts._replace(freed=freed)


def _quarantined(facts: Facts, event: AddressQuarantined | AddressRestored) -> Facts:
    address = ip_address(event.address)
    begins = isinstance(event, AddressQuarantined)
    assert (address in facts.quarantined) != begins, "once, until it is restored"
    facts = facts._replace(quarantined=facts.quarantined ^ {address})
    return facts._replace(freed=tuple(f for f in facts.freed if f.address != address))


def _allocated(facts: Facts, event: AddressesAllocated | AllocationImported, time: int) -> Facts:
    assert event.allocation not in facts.live, "an allocation id is used once"
    assert event.allocation not in facts.over, "an allocation id is used once"
    addresses = tuple((held.pool, ip_address(held.ip)) for held in event.addresses)
    for pool, address in addresses:
        assert pool not in facts.terminating, "a pool that terminates gives out nothing"
        assert _may_serve(facts.pools[pool], event), "an auto pool serves its application alone"
        imported = isinstance(event, AllocationImported)
        assert imported or not is_reserved(facts, address), "invariant 1: it was given out"
    identity = (event.pod.uid, event.interface)
    live = Live(
        identity,
        event.node,
        event.sandbox,
        addresses,
        event.pod,
        event.owner,
        event.network,
        bound=time,
    )
    freed = tuple(f for f in facts.freed if (f.pool, f.address) not in addresses)
    return facts._replace(live=_set(facts.live, event.allocation, live), freed=freed)


def _may_serve(spec: PoolSpec, event: AddressesAllocated | AllocationImported) -> bool:
    auto, owner = spec.auto, event.owner
    if auto is None:
        return True
    return owner is not None and application_key(
        owner.api_version, owner.kind, event.pod.namespace, owner.name
    ) == application_key(auto.owner.api_version, auto.owner.kind, auto.namespace, auto.owner.name)


def check_auto_pools(facts: Facts) -> None:
    """What is true of auto pools between two commands."""
    serving: set[tuple[Key, str, int]] = set()
    for spec in facts.pools.values():
        held = any(pool == spec.name for a in facts.live.values() for pool, _ in a.addresses)
        assert held or spec.name not in facts.terminating, "it goes with its last address"
        auto = spec.auto
        if auto is None or spec.name in facts.terminating:
            continue
        owner = auto.owner
        key = application_key(owner.api_version, owner.kind, auto.namespace, owner.name)
        assert (key, auto.interface, spec.ip_version) not in serving, "one for each interface"
        serving.add((key, auto.interface, spec.ip_version))
        assert not auto.reclaim or key in facts.applications, "it goes with its application"


def check_inheritance(facts: Facts) -> None:
    """Between two commands a pool has its subnet's gateway and routes where it has none."""
    subnets = {subnet.subnet: subnet for subnet in facts.subnets.values()}
    for pool in facts.pools.values():
        subnet = subnets.get(pool.subnet)
        if pool.name in facts.terminating:
            continue
        assert subnet or not pool.inherited, "from whom?"
        for name in ("gateway", "routes"):
            own = None if name in pool.inherited else getattr(pool, name)
            assert getattr(pool, name) == (own or getattr(subnet, name, own)), f"its {name}"


def check_sizes(facts: Facts, told: Application) -> None:
    """An application that was told of has no unheld address more than it wants."""
    key = application_key(told.api_version, told.kind, told.namespace, told.name)
    held = {address for live in facts.live.values() for _, address in live.addresses}
    for spec in facts.pools.values():
        owner = spec.auto.owner if spec.auto else None
        if owner is None or spec.auto is None or spec.name in facts.terminating:
            continue
        if application_key(owner.api_version, owner.kind, spec.auto.namespace, owner.name) == key:
            number = spec.auto.number or "+1"
            flexible = number.startswith("+")
            wanted = int(number) + (facts.applications[key].replicas if flexible else 0)
            addresses = addresses_of(spec)
            unheld = [address for address in addresses if address not in held]
            asked = "".join(told.annotations.values())
            if f'"ipv{spec.ip_version}"' in asked and f'"{spec.auto.subnet}"' in asked:
                assert len(addresses) <= wanted or not unheld, "it gives back its surplus"
                assert len(addresses) >= wanted, "it has what it wants"


def _released(facts: Facts, event: AddressesReleased, time: int) -> Facts:
    assert event.allocation not in facts.over, "invariant 7: released twice"
    assert event.allocation in facts.live, "invariant 7: it was not live"
    ended = facts.live[event.allocation]
    assert event.sandbox == ended.sandbox, "invariant 7: of another sandbox"
    live = MappingProxyType({k: v for k, v in facts.live.items() if k != event.allocation})
    freed = tuple(
        Freed(pool, address, ended.identity)
        for pool, address in ended.addresses
        if not is_reserved(facts, address)
    )
    if ended.sandbox and event.reason != "conflict":  # its sandbox goes on
        facts = _ended(facts, (ended.sandbox, ended.identity[1]), time)
    return facts._replace(
        live=live, over=facts.over | {event.allocation}, freed=facts.freed + freed
    )


def _rebound(facts: Facts, event: AllocationRebound, time: int) -> Facts:
    old = facts.live[event.allocation]
    new = old._replace(sandbox=event.sandbox, bound=time)
    if event.pod is not None:
        identity = (event.pod.uid, old.identity[1])
        new = new._replace(identity=identity, pod=event.pod, node=event.node)
        assert _place(new) == _place(old) != None, "another pod takes over only in its place"  # noqa: E711
    if old.sandbox:
        facts = _ended(facts, (old.sandbox, old.identity[1]), time)
    return facts._replace(live=_set(facts.live, event.allocation, new))


def _application(
    facts: Facts, event: ApplicationCreated | ApplicationUpdated | ApplicationDeleted
) -> Facts:
    known = facts.applications
    if isinstance(event, ApplicationDeleted):
        gone = application_key(event.api_version, event.kind, event.namespace, event.name)
        assert gone in known, "only an application that is known is deleted"
        rest = MappingProxyType({k: v for k, v in known.items() if k != gone})
        return facts._replace(applications=rest)
    told = event.application
    key = application_key(told.api_version, told.kind, told.namespace, told.name)
    assert (key in known) != isinstance(event, ApplicationCreated), "created once"
    return facts._replace(applications=_set(known, key, event.application))


def application_key(api_version: str, kind: str, namespace: str, name: str) -> Key:
    """The key of an application."""
    group = api_version.split("/")[0] if "/" in api_version else ""
    kind = "VirtualMachine" if kind.startswith("VirtualMachine") else kind
    return group, kind, namespace, name


def _place(live: Live) -> tuple[Key, str] | None:
    """The application, and the pod's ordinal or the machine, that an allocation is for."""
    owner, pod = live.owner, live.pod
    if owner is None:
        return None
    key = application_key(owner.api_version, owner.kind, pod.namespace, owner.name)
    if owner.api_version == "apps/v1" and owner.kind == "StatefulSet":
        return key, pod.name
    if owner.api_version == "kubevirt.io/v1" and owner.kind.startswith("VirtualMachine"):
        return key, owner.name
    return None


def has_place(facts: Facts, live: Live) -> bool:
    """Whether the place of an allocation is there for another pod."""
    place = _place(live)
    application = facts.applications.get(place[0]) if place else None
    if place is None or application is None:
        return False
    if place[0][1] == "VirtualMachine":
        return True
    ordinal = int(place[1].rpartition("-")[2])
    return ordinal in range(application.start, application.start + application.replicas)


def _ended(facts: Facts, attachment: tuple[str, str], time: int) -> Facts:
    return facts._replace(ended=MappingProxyType({**facts.ended, attachment: time}))


def _set(facts: MappingProxyType[K, V], key: K, value: V) -> MappingProxyType[K, V]:
    return MappingProxyType({**facts, key: value})


@lru_cache(maxsize=4096)
def _ends(text: str) -> tuple[Ip, Ip]:
    first, _, last = text.partition("-")
    return ip_address(first), ip_address(last or first)


def _in_any(texts: tuple[str, ...], address: Ip) -> bool:
    ends = [(first, last) for first, last in map(_ends, texts) if first.version == address.version]
    return any(int(first) <= int(address) <= int(last) for first, last in ends)


def _edges(spec: AddressSpace) -> list[Ip]:
    """Where two pools that share anything share something: ends of ranges, and next to gaps."""
    edges: list[Ip] = []
    for first, last in map(_ends, spec.ips):
        edges += [first, last]
    for first, last in map(_ends, spec.exclude_ips):
        edges += [type(first)(max(int(first) - 1, 0))]
        edges += [type(last)(min(int(last) + 1, 2**last.max_prefixlen - 1))]
    return edges
