"""The columns of the tables. Tables are free to change; the keys of JSON are not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from ipledger.cli.output import Column

if TYPE_CHECKING:
    from ipledger.projections.rows import AllocationRow, PoolRow


def _pool_routes(row: PoolRow) -> str:
    return _joined(f"{route.dst}={route.gw}" for route in row.routes)


def _addresses(row: AllocationRow) -> str:
    return _joined(held.address for held in row.addresses)


def _pools(row: AllocationRow) -> str:
    return _joined(held.pool for held in row.addresses)


def _joined_of(field: str) -> Callable[[Any], str]:
    value = attrgetter(field)
    return lambda row: _joined(value(row))


def _joined(texts: Iterable[str]) -> str:
    return ",".join(texts)


POOL_COLUMNS = (
    Column("NAME", attrgetter("name")),
    Column("VERSION", attrgetter("ip_version")),
    Column("SUBNET", attrgetter("subnet")),
    Column("TOTAL", attrgetter("total")),
    Column("ALLOCATED", attrgetter("allocated")),
    Column("HELD", attrgetter("held"), wide=True),
    Column("QUARANTINED", attrgetter("quarantined"), wide=True),
    Column("FREE", attrgetter("free")),
    Column("DEFAULT", attrgetter("default")),
    Column("DISABLED", attrgetter("disable")),
    Column("GATEWAY", attrgetter("gateway"), wide=True),
    Column("IPS", _joined_of("ips"), wide=True),
    Column("EXCLUDED", _joined_of("exclude_ips"), wide=True),
    Column("ROUTES", _pool_routes, wide=True),
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
