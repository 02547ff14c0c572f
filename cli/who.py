"""`ipledger who`: the holder of an address."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ipledger.cli.connection import DEFAULT, Connection, engine_client
from ipledger.cli.errors import EXIT_FAILURE, UsageError
from ipledger.cli.output import Output, note, print_one
from ipledger.cli.views import ALLOCATION_COLUMNS
from ipledger.events.addresses import parse_ip

if TYPE_CHECKING:
    from ipledger.projections.rows import PoolRow, ReservationRow


async def who(
    address: str, /, *, output: Output = "table", connection: Connection = DEFAULT
) -> int:
    """Show who holds an address now.

    Parameters
    ----------
    address
        An IPv4 or IPv6 address.
    """
    try:
        version, value = parse_ip(address)
    except ValueError as error:
        raise UsageError(str(error)) from None
    from ipledger.engine.queries import AllocationsWhere

    async with engine_client(connection) as client:
        async for page in client.allocations(AllocationsWhere(address=address)):
            for row in page.allocations:
                print_one(row, ALLOCATION_COLUMNS, output)
                return 0
        pools = (await client.pools()).pools
        reservations = (await client.reservations()).reservations
    where = _reserved(reservations, version, value) or _where(pools, version, value)
    note(f"nobody holds {address}: {where}")
    return EXIT_FAILURE


def _reserved(reservations: Iterable[ReservationRow], version: int, value: int) -> str:
    from ipledger.projections.ranges import contains, parse_ranges

    for row in reservations:
        if row.ip_version == version and contains(parse_ranges(row.ips, version), value):
            return f"it is reserved by {row.name}"
    return ""


def _where(pools: Iterable[PoolRow], version: int, value: int) -> str:
    from ipledger.projections.ranges import contains, network

    rows = [row for row in pools if row.ip_version == version]
    for row in rows:
        if contains(_usable(row), value):
            return f"it is free in pool {row.name}"
    for row in rows:
        if contains((network(row.subnet),), value):
            return f"it is in subnet {row.subnet}, but in no pool"
    return "it is in no pool"


def _usable(row: PoolRow) -> tuple[tuple[int, int], ...]:
    from ipledger.events.facts import PoolSpec
    from ipledger.projections.ranges import usable

    spec = PoolSpec(row.name, row.ip_version, row.subnet, row.ips, row.exclude_ips)
    return usable(spec)
