"""`ipledger who`: the holder of an address."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ipledger.cli.connection import DEFAULT, Connection
from ipledger.cli.errors import EXIT_FAILURE, UsageError
from ipledger.cli.output import Format, Output, note, print_one
from ipledger.cli.past import SOURCE, At, Source, moment_of, open_past, present, stands_on
from ipledger.cli.views import ALLOCATION_COLUMNS, HOLDER_THEN_COLUMNS
from ipledger.events.addresses import parse_ip

if TYPE_CHECKING:
    from ipledger.projections.history import Interval
    from ipledger.projections.rows import PoolRow, QuarantineRow, ReservationRow
    from ipledger.replay.past import Holding


async def who(
    address: str,
    /,
    *,
    at: At = "",
    output: Output = "table",
    source: Source = SOURCE,
    connection: Connection = DEFAULT,
) -> int:
    """Show who holds an address now, or held it then.

    Parameters
    ----------
    address
        An IPv4 or IPv6 address.
    """
    try:
        version, value = parse_ip(address)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if at or source.file is not None:
        return await _then(address, at, output, source, connection)
    return await _now(address, version, value, output, connection)


async def _then(
    address: str, at: str, output: Format, source: Source, connection: Connection
) -> int:
    from ipledger.replay.holders import holder_row

    async with open_past(connection, source) as past:
        moment = await moment_of(past, at, "--at")
        found = await past.holding(address, moment.position)
        stands_on(moment)
        if found.interval is not None:
            row = await holder_row(past, found.interval, moment.position)
            print_one(row, HOLDER_THEN_COLUMNS, output)
            return 0
    note(f"nobody held {address}: {_around(found)}")
    return EXIT_FAILURE


def _around(found: Holding) -> str:
    """Who had it before and behind."""
    from ipledger.events.clock import format_time

    parts: list[str] = []
    if found.before is not None and found.before.to_time is not None:
        ended = format_time(found.before.to_time)
        parts.append(f"{_pod_of(found.before)} had it until {ended}")
    if found.behind is not None:
        parts.append(f"{_pod_of(found.behind)} from {format_time(found.behind.from_time)}")
    return ", ".join(parts) or "nobody ever did"


def _pod_of(interval: Interval) -> str:
    return f"{interval.namespace}/{interval.pod}" if interval.namespace else interval.pod


async def _now(
    address: str, version: int, value: int, output: Format, connection: Connection
) -> int:
    from ipledger.engine.queries import AllocationsWhere

    async with present(connection) as client:
        async for page in client.allocations(AllocationsWhere(address=address)):
            for row in page.allocations:
                print_one(row, ALLOCATION_COLUMNS, output)
                return 0
        pools = (await client.pools()).pools
        reservations = (await client.reservations()).reservations
        quarantines = (await client.quarantines()).quarantines
    where = (
        _quarantined(quarantines, address)
        or _reserved(reservations, version, value)
        or _where(pools, version, value)
    )
    note(f"nobody holds {address}: {where}")
    return EXIT_FAILURE


def _quarantined(rows: Iterable[QuarantineRow], address: str) -> str:
    found = next((row for row in rows if row.address == address), None)
    if found is None:
        return ""
    return f"it is quarantined, and {found.mac or 'something else'} answers to it"


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
