"""What hypothesis draws: small worlds in which pods meet often, and sometimes nonsense."""

from __future__ import annotations

import json
from ipaddress import ip_network

from hypothesis import strategies as st
from msgspec.structs import replace

from ipledger.engine.commands import (
    Allocate,
    AnyCommand,
    ApplyApplication,
    ApplyPool,
    ApplyReservation,
    ApplySubnet,
    Attachment,
    DeleteApplication,
    DeletePool,
    DeleteReservation,
    DeleteSubnet,
    ImportAllocation,
    ImportAutoPool,
    Release,
    ReleaseAllocation,
    RetainAttachments,
)
from ipledger.engine.subnet_annotations import IP_NUMBER, RECLAIM, SUBNET
from ipledger.engine.subnets import as_asked
from ipledger.events.facts import (
    Address,
    Application,
    AutoPool,
    Owner,
    Pod,
    PoolSpec,
    ReservationSpec,
    Route,
    SubnetSpec,
)
from support.model import Facts

SUBNETS = ("10.0.0.0/28", "10.0.0.0/28", "10.0.1.0/29", "10.0.0.0/27", "fd00::/125", "fd01::/64")
NAMES = ("a", "b", "c", "six", "big")

EVERYDAY = (
    PoolSpec("a", 4, "10.0.0.0/28", ips=("10.0.0.2-10.0.0.5",), default=True),
    PoolSpec("b", 4, "10.0.0.0/28", ips=("10.0.0.8", "10.0.0.6"), gateway="10.0.0.1"),
    PoolSpec("c", 4, "10.0.1.0/29", ips=("10.0.1.1-10.0.1.6",), exclude_ips=("10.0.1.3",)),
    PoolSpec("six", 6, "fd00::/125", ips=("fd00::2-fd00::6",), default=True),
    PoolSpec("big", 6, "fd01::/64", ips=("fd01::1-fd01::ffff:ffff:ffff:ffff",)),
)
"""Pools that go together."""

TINY = (
    PoolSpec("a", 4, "10.0.0.0/28", ips=("10.0.0.2",), default=True),
    PoolSpec("b", 4, "10.0.0.0/28", ips=("10.0.0.4-10.0.0.5",)),
    PoolSpec("c", 4, "10.0.1.0/29", ips=("10.0.1.1", "10.0.1.6"), gateway="10.0.1.2"),
    PoolSpec("six", 6, "fd00::/125", ips=("fd00::2-fd00::3",), default=True),
    PoolSpec("big", 6, "fd01::/64", ips=("fd01::1-fd01::2",)),
)
"""Pools that are soon full."""

_names = st.sampled_from(NAMES)
_uids = st.sampled_from(("p1", "p2", "p3", "p4", "p5", "p6", "p7"))
_owners = st.sampled_from(
    (
        None,
        None,
        Owner("apps/v1", "StatefulSet", "cart"),
        Owner("kubevirt.io/v1", "VirtualMachineInstance", "db"),
        Owner("apps/v1", "Deployment", "web"),
        Owner("apps.kruise.io/v1alpha1", "CloneSet", "app"),
    )
)
_subnet_names = st.sampled_from(("s", "s", "t"))
_numbers = st.sampled_from(({}, {IP_NUMBER: "+0"}, {IP_NUMBER: "2"}, {IP_NUMBER: "+3"}))
_reclaims = st.sampled_from(({}, {}, {RECLAIM: "false"}))
_reservations = st.sampled_from(("r1", "r2"))
_sandboxes = st.integers(1, 40).map(lambda n: f"s{n}")
_interfaces = st.sampled_from(("eth0", "eth0", "eth0", "net1"))
_nodes = st.sampled_from(("n1", "n1", "n1", "n1", "n2"))


@st.composite
def ranges(draw: st.DrawFn, subnet: str) -> tuple[str, ...]:
    """Up to three ranges, most of them inside the subnet."""
    first = ip_network(subnet).network_address
    found: list[str] = []
    for _ in range(draw(st.integers(0, 3))):
        start = first + draw(st.integers(0, 9))
        length = draw(st.integers(0, 5))
        found.append(f"{start}-{start + length}" if length else str(start))
    return tuple(found)


def routes_in(subnet: str) -> st.SearchStrategy[tuple[Route, ...]]:
    """One route or none, by way of an address of the subnet."""
    net = ip_network(subnet)
    destination = "10.9.0.0/16" if net.version == 4 else "fd09::/64"
    inside = st.integers(0, 7).map(lambda offset: str(net[offset]))
    routes = st.lists(st.builds(Route, st.just(destination), inside), max_size=1)
    return routes.map(tuple)


@st.composite
def pool_specs(draw: st.DrawFn) -> PoolSpec:
    """Any pool, valid or not."""
    subnet = draw(st.sampled_from(SUBNETS))
    version = ip_network(subnet).version
    first = ip_network(subnet).network_address
    inside = st.integers(0, 8).map(lambda offset: str(first + offset))
    return PoolSpec(
        name=draw(_names),
        ip_version=draw(st.sampled_from((0, version, version, 4))),
        subnet=subnet,
        ips=draw(ranges(subnet)),
        exclude_ips=draw(ranges(subnet)) if draw(st.booleans()) else (),
        gateway=draw(inside) if draw(st.booleans()) else "",
        routes=draw(routes_in(subnet)),
        default=draw(st.booleans()),
        disable=draw(st.sampled_from((False, False, False, True))),
    )


def pool_names(*usual: str) -> st.SearchStrategy[tuple[str, ...]]:
    """Pools that an ADD names: none, a usual one, or any: one twice, or one that is not there."""
    some = st.permutations(usual).map(lambda names: tuple(names[:2]))
    return st.one_of(st.just(()), some, some, st.lists(_names, max_size=3).map(tuple))


@st.composite
def subnet_annotations(draw: st.DrawFn) -> dict[str, str]:
    """Annotations that ask for auto pools, or none."""
    if draw(st.booleans()):
        return {}
    names = {"ipv4": [draw(_subnet_names)]} if draw(st.booleans()) else {"ipv6": ["t"]}
    size, reclaim = draw(_numbers), draw(_reclaims)
    return {SUBNET: json.dumps(names), **size, **reclaim}


@st.composite
def adds(draw: st.DrawFn) -> Allocate:
    """An ADD of one of a few pods; some of them are in places that keep their addresses."""
    owner = draw(_owners)
    uid = draw(_uids)
    if owner is not None:
        name = f"{owner.name}-{draw(st.integers(0, 2))}"
        pod = Pod("ns", name, f"{name}-{uid}")
    else:
        pod = Pod("ns", f"pod-{uid}", uid)
    return Allocate(
        pod=pod,
        owner=owner,
        sandbox=draw(_sandboxes),
        interface=draw(_interfaces),
        node=draw(_nodes),
        default_ipv4_pools=draw(pool_names("a", "b", "c")),
        default_ipv6_pools=draw(pool_names("six", "big")),
        clean_gateway=draw(st.booleans()),
        replicas=draw(st.none() | st.integers(0, 3)),
        annotations=draw(subnet_annotations()),
    )


@st.composite
def reservation_specs(draw: st.DrawFn) -> ReservationSpec:
    """Any reservation, mostly of addresses that pools have."""
    subnet = draw(st.sampled_from(SUBNETS))
    version = ip_network(subnet).version
    return ReservationSpec(
        name=draw(_reservations),
        ip_version=draw(st.sampled_from((0, version, version, 4))),
        ips=draw(ranges(subnet)),
    )


@st.composite
def subnet_specs(draw: st.DrawFn) -> SubnetSpec:
    """Any subnet; the generous ones are wide enough for every pool."""
    subnet = draw(st.sampled_from(SUBNETS))
    net = ip_network(subnet)
    generous = (f"{net.network_address}-{net.broadcast_address}",)
    gateway = draw(st.sampled_from(("", str(net[0]), str(net[1]))))
    return SubnetSpec(
        name=draw(st.sampled_from(("s", "t"))),
        ip_version=0,
        subnet=subnet,
        ips=draw(st.just(generous) | st.just(generous) | ranges(subnet)),
        exclude_ips=draw(ranges(subnet)) if draw(st.booleans()) else (gateway,) * bool(gateway),
        gateway=gateway,
        routes=draw(routes_in(subnet)),
    )


def subnets() -> st.SearchStrategy[AnyCommand]:
    """A command about a subnet."""
    apply = st.builds(ApplySubnet, subnet=subnet_specs())
    return apply | apply | st.builds(DeleteSubnet, name=st.sampled_from(("s", "t")))


def reservations() -> st.SearchStrategy[AnyCommand]:
    """A command about a reservation; as many go as come."""
    apply = st.builds(ApplyReservation, reservation=reservation_specs())
    return apply | st.builds(DeleteReservation, name=_reservations)


def _sized(api_version: str, kind: str, name: str) -> st.SearchStrategy[Application]:
    return st.builds(
        Application,
        st.just(api_version),
        st.just(kind),
        st.just("ns"),
        st.just(name),
        st.sampled_from(("1-aaaaa", "1-bbbbb")),
        replicas=st.integers(0, 3),
        start=st.sampled_from((0, 0, 1)),
        annotations=subnet_annotations(),
    )


def applications() -> st.SearchStrategy[AnyCommand]:
    """A command about an application: it grows, shrinks, goes."""
    sets = _sized("apps/v1", "StatefulSet", "cart")
    others = _sized("apps/v1", "Deployment", "web") | _sized(
        "apps.kruise.io/v1alpha1", "CloneSet", "app"
    )
    machines = st.just(Application("kubevirt.io/v1", "VirtualMachine", "ns", "db"))
    apply = st.builds(ApplyApplication, application=sets | others | machines)
    gone = st.sampled_from(
        (
            ("apps/v1", "StatefulSet", "cart"),
            ("kubevirt.io/v1", "VirtualMachine", "db"),
            ("apps/v1", "Deployment", "web"),
            ("apps.kruise.io/v1alpha1", "CloneSet", "app"),
        )
    )
    return (
        apply
        | apply
        | gone.map(
            lambda which: DeleteApplication(
                api_version=which[0], kind=which[1], namespace="ns", name=which[2]
            )
        )
    )


@st.composite
def imports(draw: st.DrawFn) -> ImportAllocation:
    """What another system may have given out: an address near those of a pool, or two."""
    asked = draw(adds())
    pools = draw(st.lists(st.sampled_from(EVERYDAY[:4]), min_size=1, max_size=2))
    addresses = [
        Address(spec.name, f"{net.network_address + draw(st.integers(1, 8))}/{net.prefixlen}")
        for spec in pools
        for net in (ip_network(spec.subnet),)
    ]
    return ImportAllocation(
        pod=asked.pod,
        node=asked.node,
        interface=asked.interface,
        owner=asked.owner,
        addresses=tuple(addresses),
        source="SpiderEndpoint",
        held=draw(st.sampled_from((False, False, True))),
    )


@st.composite
def auto_imports(draw: st.DrawFn) -> ImportAutoPool:
    """An auto pool of another system, as its application asks for it or otherwise."""
    sets = _sized("apps/v1", "StatefulSet", "cart") | _sized("apps/v1", "Deployment", "web")
    told = draw(sets)
    asked = told.annotations.get(SUBNET, '{"ipv4":["s"]}')
    name = next(iter(json.loads(asked).values()))[0]
    owner = Owner(told.api_version, told.kind, told.name, told.uid)
    auto = AutoPool(name, "ns", owner, draw(_interfaces), reclaim=draw(st.booleans()))
    spec = replace(draw(pool_specs() | st.sampled_from(EVERYDAY)), default=False, auto=auto)
    return ImportAutoPool(pool=spec, application=draw(st.sampled_from((told, told, None))))


def commands() -> st.SearchStrategy[AnyCommand]:
    """Any command, whatever there is."""
    dels = st.builds(
        Release,
        sandbox=_sandboxes,
        interface=_interfaces,
        node=_nodes,
        fence=st.booleans(),
        ended_pod=st.just("") | _uids,
    )
    frees = st.builds(
        ReleaseAllocation,
        allocation=st.integers(1, 12).map(lambda n: f"a{n}"),
        sandbox=st.none() | st.just("") | _sandboxes,
    )
    listed = st.builds(Attachment, _sandboxes, _interfaces)
    gcs = st.builds(
        RetainAttachments,
        network=st.just(""),
        attachments=st.lists(listed, max_size=30).map(tuple),
        node=_nodes,
    )
    pools = st.builds(ApplyPool, pool=pool_specs() | st.sampled_from(EVERYDAY))
    deletes = st.builds(DeletePool, name=_names, when_empty=st.booleans())
    resources = (reservations(), applications(), subnets(), auto_imports())
    return st.one_of(dels, dels, frees, gcs, imports(), pools, pools, deletes, *resources)


@st.composite
def aimed(draw: st.DrawFn, facts: Facts) -> AnyCommand:
    """A command about something that is there: its DEL, its next sandbox, a change of its pool."""
    allocation, live = draw(st.sampled_from(list(facts.live.items())))
    _, interface = live.identity
    pool = draw(st.sampled_from(list(facts.pools.values())))
    changed = replace(
        as_asked(pool),
        ips=draw(st.sampled_from((pool.ips, pool.ips[:1], *(p.ips for p in EVERYDAY)))),
        exclude_ips=draw(st.just(()) | ranges(pool.subnet)),
        disable=draw(st.sampled_from((False, False, True))),
    )
    again = Allocate(
        pod=live.pod,
        owner=live.owner,
        sandbox=draw(
            _sandboxes if live.sandbox[:4] == "pod:" else st.just(live.sandbox) | _sandboxes
        ),
        interface=interface,
        node=live.node,
    )
    imported = live.sandbox.removeprefix("pod:")
    is_imported = imported != live.sandbox
    delete = Release(
        sandbox="s1" if is_imported else live.sandbox,
        interface=interface,
        node=live.node,
        ended_pod=imported if is_imported else "",
    )
    by_name = ReleaseAllocation(allocation=allocation, sandbox=draw(st.sampled_from((None, "s1"))))
    by_collector = ReleaseAllocation(
        allocation=allocation,
        uid=draw(st.sampled_from((live.identity[0], "other"))),
        sandbox=draw(st.sampled_from((live.sandbox, "s1"))),
        reason="gc",
        evidence="pod gone",
    )
    keep = ApplyPool(pool=as_asked(pool), reclaim=draw(st.none() | st.booleans()))
    pools = (ApplyPool(pool=changed), keep)
    choices: tuple[AnyCommand, ...] = (delete, again, *pools, by_name, by_collector)
    return draw(st.sampled_from(choices))


def likely(facts: Facts) -> st.SearchStrategy[AnyCommand]:
    """A command as life brings it: mostly ADDs, and what concerns what is there."""
    if not facts.live:
        return st.one_of(adds(), adds(), adds(), applications(), commands())
    likely = (adds(), adds(), adds(), aimed(facts), aimed(facts), commands())
    return st.one_of(*likely, reservations(), applications())
