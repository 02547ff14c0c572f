"""The columns of the tables. Tables are free to change; the keys of JSON are not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from ipledger.cli.output import Column

if TYPE_CHECKING:
    from ipledger.events.facts import Selector
    from ipledger.projections.exhaustion import Exhaustion
    from ipledger.projections.rows import AllocationRow, PoolRow, SubnetRow


def _routes(row: PoolRow | SubnetRow) -> str:
    return _joined(f"{route.dst}={route.gw}" for route in row.routes)


def _selector(field: str) -> Callable[[Any], str]:
    value = attrgetter(field)
    return lambda row: selector_text(value(row))


def selector_text(selector: Selector | None) -> str:
    """A label selector as kubectl writes it; one that is not there is ''."""
    if selector is None:
        return ""
    terms = [f"{key}={value}" for key, value in selector.match_labels.items()]
    for want in selector.match_expressions:
        values = f" ({','.join(want.values)})" if want.values else ""
        terms.append(_OPERATORS[want.operator].format(want.key) + values)
    return ",".join(terms) or "(everything)"


def _addresses(row: AllocationRow) -> str:
    return _joined(held.address for held in row.addresses)


def _pod(row: AllocationRow) -> str:
    return f"{row.namespace}/{row.pod}" if row.namespace else row.pod


def _application(row: PoolRow) -> str:
    """Whom an auto pool is for: `Deployment shop/web eth0`."""
    auto = row.auto
    return f"{auto.owner.kind} {auto.namespace}/{auto.owner.name} {auto.interface}" if auto else ""


def _pools(row: AllocationRow) -> str:
    return _joined(held.pool for held in row.addresses)


def exhaustion_text(found: Exhaustion | None) -> str:
    """When a pool is full, for a person."""
    if found is None:
        return "not known yet"
    rate = f"{found.growth_per_second * 3600:+.1f} addresses an hour"
    seen = f"{rate} over the last {duration_text(found.window_seconds)}, seasons ignored"
    if found.full_in_seconds is None:
        return f"never at this rate ({seen})"
    left = duration_text(found.full_in_seconds) if found.full_in_seconds else "it is full"
    return f"{left} ({seen})"


def duration_text(seconds: float) -> str:
    """A duration in its two largest units: `3h 20m`."""
    left, parts = round(seconds), list[str]()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"


def _joined_of(field: str) -> Callable[[Any], str]:
    value = attrgetter(field)
    return lambda row: _joined(value(row))


def _joined(texts: Iterable[str]) -> str:
    return ",".join(texts)


_OPERATORS = {"In": "{} in", "NotIn": "{} notin", "Exists": "{}", "DoesNotExist": "!{}"}

SUBNET_COLUMNS = (
    Column("NAME", attrgetter("name")),
    Column("VERSION", attrgetter("ip_version")),
    Column("SUBNET", attrgetter("subnet")),
    Column("TOTAL", attrgetter("total")),
    Column("ALLOCATED", attrgetter("allocated")),
    Column("FREE", attrgetter("free")),
    Column("POOLS", _joined_of("pools")),
    Column("GATEWAY", attrgetter("gateway"), wide=True),
    Column("IPS", _joined_of("ips"), wide=True),
    Column("EXCLUDED", _joined_of("exclude_ips"), wide=True),
    Column("ROUTES", _routes, wide=True),
)

POOL_COLUMNS = (
    Column("NAME", attrgetter("name")),
    Column("VERSION", attrgetter("ip_version")),
    Column("SUBNET", attrgetter("subnet")),
    Column("TOTAL", attrgetter("total")),
    Column("ALLOCATED", attrgetter("allocated")),
    Column("HELD", attrgetter("held"), wide=True),
    Column("QUARANTINED", attrgetter("quarantined"), wide=True),
    Column("FREE", attrgetter("free")),
    Column("RESERVED", attrgetter("reserved"), wide=True),
    Column("DEFAULT", attrgetter("default")),
    Column("DISABLED", attrgetter("disable")),
    Column("GATEWAY", attrgetter("gateway"), wide=True),
    Column("IPS", _joined_of("ips"), wide=True),
    Column("EXCLUDED", _joined_of("exclude_ips"), wide=True),
    Column("ROUTES", _routes, wide=True),
    Column("INHERITED", _joined_of("inherited"), wide=True),
    Column("POD-AFFINITY", _selector("pod_affinity"), wide=True),
    Column("NAMESPACES", _joined_of("namespace_name"), wide=True),
    Column("NAMESPACE-AFFINITY", _selector("namespace_affinity"), wide=True),
    Column("NODES", _joined_of("node_name"), wide=True),
    Column("NODE-AFFINITY", _selector("node_affinity"), wide=True),
    Column("NETWORKS", _joined_of("multus_name"), wide=True),
    Column("APPLICATION", _application, wide=True),
    Column("TERMINATING", attrgetter("terminating"), wide=True),
)

RESERVATION_COLUMNS = (
    Column("NAME", attrgetter("name")),
    Column("VERSION", attrgetter("ip_version")),
    Column("TOTAL", attrgetter("total")),
    Column("ALLOCATED", attrgetter("allocated")),
    Column("IPS", _joined_of("ips")),
)

QUARANTINE_COLUMNS = (
    Column("ADDRESS", attrgetter("address")),
    Column("POOL", attrgetter("pool")),
    Column("MAC", attrgetter("mac")),
    Column("NODE", attrgetter("node")),
    Column("SEEN", attrgetter("seen")),
    Column("ALLOCATION", attrgetter("allocation"), wide=True),
    Column("EVIDENCE", attrgetter("evidence")),
)

APPLICATION_COLUMNS = (
    Column("NAMESPACE", attrgetter("namespace")),
    Column("KIND", attrgetter("kind")),
    Column("NAME", attrgetter("name")),
    Column("REPLICAS", attrgetter("replicas")),
    Column("POOLS", _joined_of("pools")),
    Column("API-VERSION", attrgetter("api_version"), wide=True),
    Column("START", attrgetter("start"), wide=True),
    Column("UID", attrgetter("uid"), wide=True),
)

HOLDER_COLUMNS = (
    Column("ADDRESSES", _addresses),
    Column("POD", _pod),
    Column("INTERFACE", attrgetter("interface")),
    Column("NODE", attrgetter("node")),
    Column("SINCE", attrgetter("since")),
    Column("ALLOCATION", attrgetter("id")),
)

HOLDER_THEN_COLUMNS = (
    Column("ADDRESSES", _addresses),
    Column("POD", _pod),
    Column("INTERFACE", attrgetter("interface")),
    Column("NODE", attrgetter("node")),
    Column("FROM", attrgetter("from_")),
    Column("UNTIL", attrgetter("until")),
    Column("HELD", attrgetter("held")),
    Column("ALLOCATION", attrgetter("id")),
    Column("UID", attrgetter("uid"), wide=True),
    Column("SANDBOX", attrgetter("sandbox"), wide=True),
    Column("FROM-POSITION", attrgetter("from_position"), wide=True),
    Column("UNTIL-POSITION", attrgetter("until_position"), wide=True),
)

VERDICT_COLUMNS = (
    Column("POOL", attrgetter("pool")),
    Column("VERSION", attrgetter("ip_version")),
    Column("VERDICT", attrgetter("verdict")),
    Column("DETAIL", attrgetter("detail")),
    Column("DECIDED AGAIN", attrgetter("again")),
    Column("AGREES", attrgetter("agrees")),
)

OUTLOOK_COLUMNS = (
    Column("POOL", attrgetter("pool")),
    Column("TOTAL", attrgetter("total")),
    Column("RECORDED PEAK", attrgetter("recorded_peak")),
    Column("PEAK", attrgetter("peak")),
    Column("PEAK %", attrgetter("peak_percent")),
    Column("AT", attrgetter("peak_time")),
    Column("RECORDED REFUSED", attrgetter("recorded_refused")),
    Column("REFUSED", attrgetter("refused")),
    Column("FIRST REFUSED", attrgetter("first_refused")),
)

ALLOCATION_COLUMNS = (
    Column("ID", attrgetter("id")),
    Column("NAMESPACE", attrgetter("namespace")),
    Column("POD", attrgetter("pod")),
    Column("INTERFACE", attrgetter("interface")),
    Column("ADDRESSES", _addresses),
    Column("POOLS", _pools, wide=True),
    Column("NODE", attrgetter("node")),
    Column("UID", attrgetter("uid"), wide=True),
    Column("SANDBOX", attrgetter("sandbox"), wide=True),
    Column("SINCE", attrgetter("since")),
    Column("POSITION", attrgetter("position"), wide=True),
)
