"""The columns of the tables. Tables are free to change; the keys of JSON are not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from ipledger.cli.output import Column, field

if TYPE_CHECKING:
    from ipledger.events.facts import Selector
    from ipledger.projections.exhaustion import Exhaustion
    from ipledger.projections.rows import AllocationRow, PoolRow, SubnetRow


def _routes(row: PoolRow | SubnetRow) -> str:
    return _joined(f"{route.dst}={route.gw}" for route in row.routes)


def _selector(name: str) -> Callable[[Any], str]:
    value = attrgetter(name)
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


def _joined_of(name: str) -> Callable[[Any], str]:
    value = attrgetter(name)
    return lambda row: _joined(value(row))


def _joined(texts: Iterable[str]) -> str:
    return ",".join(texts)


_OPERATORS = {"In": "{} in", "NotIn": "{} notin", "Exists": "{}", "DoesNotExist": "!{}"}

SUBNET_COLUMNS = (
    field("NAME"),
    Column("VERSION", attrgetter("ip_version")),
    field("SUBNET"),
    field("TOTAL"),
    field("ALLOCATED"),
    field("FREE"),
    Column("POOLS", _joined_of("pools")),
    field("GATEWAY", wide=True),
    Column("IPS", _joined_of("ips"), wide=True),
    Column("EXCLUDED", _joined_of("exclude_ips"), wide=True),
    Column("ROUTES", _routes, wide=True),
)

POOL_COLUMNS = (
    field("NAME"),
    Column("VERSION", attrgetter("ip_version")),
    field("SUBNET"),
    field("TOTAL"),
    field("ALLOCATED"),
    field("HELD", wide=True),
    field("QUARANTINED", wide=True),
    field("FREE"),
    field("RESERVED", wide=True),
    field("DEFAULT"),
    Column("DISABLED", attrgetter("disable")),
    field("GATEWAY", wide=True),
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
    field("TERMINATING", wide=True),
)

RESERVATION_COLUMNS = (
    field("NAME"),
    Column("VERSION", attrgetter("ip_version")),
    field("TOTAL"),
    field("ALLOCATED"),
    Column("IPS", _joined_of("ips")),
)

QUARANTINE_COLUMNS = (
    field("ADDRESS"),
    field("POOL"),
    field("MAC"),
    field("NODE"),
    field("SEEN"),
    field("ALLOCATION", wide=True),
    field("EVIDENCE"),
)

APPLICATION_COLUMNS = (
    field("NAMESPACE"),
    field("KIND"),
    field("NAME"),
    field("REPLICAS"),
    Column("POOLS", _joined_of("pools")),
    field("API-VERSION", wide=True),
    field("START", wide=True),
    field("UID", wide=True),
)

HOLDER_COLUMNS = (
    Column("ADDRESSES", _addresses),
    Column("POD", _pod),
    field("INTERFACE"),
    field("NODE"),
    field("SINCE"),
    Column("ALLOCATION", attrgetter("id")),
)

HOLDER_THEN_COLUMNS = (
    Column("ADDRESSES", _addresses),
    Column("POD", _pod),
    field("INTERFACE"),
    field("NODE"),
    Column("FROM", attrgetter("from_")),
    field("UNTIL"),
    field("HELD"),
    Column("ALLOCATION", attrgetter("id")),
    field("UID", wide=True),
    field("SANDBOX", wide=True),
    field("FROM-POSITION", wide=True),
    field("UNTIL-POSITION", wide=True),
)

VERDICT_COLUMNS = (
    field("POOL"),
    Column("VERSION", attrgetter("ip_version")),
    field("VERDICT"),
    field("DETAIL"),
    Column("DECIDED AGAIN", attrgetter("again")),
    field("AGREES"),
)

OUTLOOK_COLUMNS = (
    field("POOL"),
    field("TOTAL"),
    field("RECORDED PEAK"),
    field("PEAK"),
    Column("PEAK %", attrgetter("peak_percent")),
    Column("AT", attrgetter("peak_time")),
    field("RECORDED REFUSED"),
    field("REFUSED"),
    field("FIRST REFUSED"),
)

ENDED_COLUMNS = (field("UNTIL"), field("ENDED"))
"""What there is more to say of an allocation that was freed."""

ALLOCATION_COLUMNS = (
    field("ID"),
    field("NAMESPACE"),
    field("POD"),
    field("INTERFACE"),
    Column("ADDRESSES", _addresses),
    Column("POOLS", _pools, wide=True),
    field("NODE"),
    field("UID", wide=True),
    field("SANDBOX", wide=True),
    field("SINCE"),
    field("POSITION", wide=True),
)
