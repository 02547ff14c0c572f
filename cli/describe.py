"""`ipledger describe`: one resource on a page, with who holds its addresses."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from ipledger.cli.connection import DEFAULT, Connection
from ipledger.cli.errors import CliError, UsageError
from ipledger.cli.kinds import Kind, parse_kind
from ipledger.cli.output import Column, Format, Output, emit, print_facts, print_rows
from ipledger.cli.past import SOURCE, At, Source, moment_of, open_past, reads
from ipledger.cli.views import (
    ALLOCATION_COLUMNS,
    ENDED_COLUMNS,
    HOLDER_COLUMNS,
    POOL_COLUMNS,
    RESERVATION_COLUMNS,
    SUBNET_COLUMNS,
    exhaustion_text,
)

if TYPE_CHECKING:
    import msgspec

    from ipledger.cli.past import Reads
    from ipledger.engine.queries import AllocationsWhere
    from ipledger.projections.rows import AllocationRow, QuarantineRow


_LABELS = {"ID": "ID", "IPS": "IPs", "UID": "UID"}


async def describe(
    kind: str,
    name: str,
    /,
    *,
    at: At = "",
    output: Output = "table",
    source: Source = SOURCE,
    connection: Connection = DEFAULT,
) -> None:
    """Show one resource with all that is known of it.

    Parameters
    ----------
    kind
        `pool`, `subnet`, `reservation` or `allocation`.
    name
        Its name; of an allocation its id, also of one that was freed: with what freed it.
    """
    from ipledger.engine.queries import AllocationsWhere

    what = parse_kind(kind)
    if what in (Kind.APPLICATIONS, Kind.QUARANTINES):
        raise UsageError(f"{kind} cannot be described; `ipledger get {what}` shows them")
    if what is Kind.ALLOCATIONS:
        await _describe_allocation(name, at, output, source, connection)
        return
    async with reads(connection, source, at) as client:
        if what is Kind.POOLS:
            page = await client.pools(name)
            found = page.pools
            holders = await _allocations(client, AllocationsWhere(pool=name)) if found else []
            told = next(iter(page.exhaustion), None)
            bad = (await client.quarantines(name)).quarantines
            if output in ("table", "wide"):
                more: dict[str, Any] = {"Full in": exhaustion_text(told)}
                more |= {"Quarantines": ", ".join(map(_quarantine, bad))} if bad else {}
            else:
                more = {"exhaustion": told, "quarantines": bad}
            _print(_only(found, "pool", name), POOL_COLUMNS, holders, output, more)
        elif what is Kind.SUBNETS:
            parents = (await client.subnets(name)).subnets
            _print(_only(parents, "subnet", name), SUBNET_COLUMNS, None, output)
        else:
            named = (await client.reservations(name)).reservations
            held = await _allocations(client, AllocationsWhere(reservation=name)) if named else []
            _print(_only(named, "reservation", name), RESERVATION_COLUMNS, held, output)


async def _describe_allocation(
    name: str, at: str, output: Format, source: Source, connection: Connection
) -> None:
    from ipledger.engine.queries import AllocationsWhere
    from ipledger.replay.ended import ended_row

    async with reads(connection, source, at) as client:
        rows = await _allocations(client, AllocationsWhere(id=name))
    if rows:
        _print(rows[0], ALLOCATION_COLUMNS, None, output)
        return
    async with open_past(connection, source) as past:
        ended = await ended_row(past, name, (await moment_of(past, at, "--at")).position)
    found = _only([ended] if ended else [], "allocation", name)
    _print(found, (*ALLOCATION_COLUMNS, *ENDED_COLUMNS), None, output)


def _quarantine(row: QuarantineRow) -> str:
    return f"{row.address} ({row.mac or row.evidence or 'by hand'})"


async def _allocations(client: Reads, query: AllocationsWhere) -> list[AllocationRow]:
    return [row async for page in client.allocations(query) for row in page.allocations]


def _only(rows: Sequence[msgspec.Struct], kind: str, name: str) -> msgspec.Struct:
    if not rows:
        raise CliError(f"no {kind} {name!r}")
    return rows[0]


def _print(
    row: msgspec.Struct,
    columns: Sequence[Column],
    holders: list[AllocationRow] | None,
    output: Format,
    more: dict[str, Any] | None = None,
) -> None:
    """Print the page. `holders` is None where the resource itself is the holder."""
    if output not in ("table", "wide"):
        _print_data(row, holders, output, more or {})
        return
    facts = {_label(column): column.cell(row) for column in columns}
    print_facts({**facts, **(more or {})}, output)
    if holders:
        emit("\nHolders:")
        print_rows(sorted(holders, key=attrgetter("since")), HOLDER_COLUMNS, output)
    elif holders is not None:
        emit("\nNobody holds an address of it.")


def _print_data(
    row: msgspec.Struct,
    holders: list[AllocationRow] | None,
    output: Format,
    more: dict[str, Any],
) -> None:
    import msgspec

    page: dict[str, Any] = msgspec.to_builtins(row) | msgspec.to_builtins(more)
    if holders is not None:
        page["holders"] = msgspec.to_builtins(holders)
    print_facts(page, output)


def _label(column: Column) -> str:
    label = _LABELS.get(column.title)
    return label or column.title.capitalize().replace("-", " ")
