"""`ipledger get`: pools, subnets, reservations, quarantines, allocations, applications."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ipledger.cli.connection import DEFAULT, Connection
from ipledger.cli.errors import CliError, UsageError
from ipledger.cli.kinds import Kind, parse_kind
from ipledger.cli.output import Column, Format, Output, note, print_one, print_pages, print_rows
from ipledger.cli.past import SOURCE, At, Source, reads
from ipledger.cli.views import (
    ALLOCATION_COLUMNS,
    APPLICATION_COLUMNS,
    POOL_COLUMNS,
    QUARANTINE_COLUMNS,
    RESERVATION_COLUMNS,
    SUBNET_COLUMNS,
)

if TYPE_CHECKING:
    from ipledger.cli.past import Reads
    from ipledger.engine.queries import AllocationsWhere
    from ipledger.projections.rows import AllocationRow, PoolRow, ReservationRow, SubnetRow


async def get(
    kind: str,
    name: str = "",
    /,
    *,
    namespace: Annotated[str, Parameter(name=("--namespace", "-n"))] = "",
    pool: str = "",
    node: str = "",
    at: At = "",
    output: Output = "table",
    source: Source = SOURCE,
    connection: Connection = DEFAULT,
) -> None:
    """Show resources.

    Parameters
    ----------
    kind
        `pools`, `subnets`, `reservations`, `quarantines`, `allocations` or `applications`; the
        singular does too.
    name
        Only the resources of this name, the allocation of this id, or this quarantined address.
    namespace
        Only applications, or allocations of pods, in this namespace.
    pool
        Only allocations with an address of this pool, or its quarantined addresses.
    node
        Only allocations on this node.
    """
    what = parse_kind(kind)
    if what is Kind.ALLOCATIONS:
        from ipledger.engine.queries import AllocationsWhere

        query = AllocationsWhere(id=name, namespace=namespace, pool=pool, node=node)
        async with reads(connection, source, at) as client:
            await _allocations(client, query, output)
        return
    if what is Kind.QUARANTINES:
        _only_for_allocations(namespace=namespace, node=node)
        async with reads(connection, source, at) as client:
            await _quarantines(client, pool, name, output)
        return
    _only_for_allocations(pool=pool, node=node)
    async with reads(connection, source, at) as client:
        if what is Kind.APPLICATIONS:
            await _applications(client, namespace, name, output)
        else:
            _only_for_allocations(namespace=namespace)
            await _resources(client, what, name, output)


def _only_for_allocations(**options: str) -> None:
    for option, value in options.items():
        if value:
            raise UsageError(f"--{option} {value}: only allocations can be chosen by {option}")


async def _resources(client: Reads, what: Kind, name: str, output: Format) -> None:
    rows: Sequence[PoolRow] | Sequence[SubnetRow] | Sequence[ReservationRow]
    columns: Sequence[Column]
    if what is Kind.POOLS:
        rows, columns = (await client.pools(name)).pools, POOL_COLUMNS
    elif what is Kind.SUBNETS:
        rows, columns = (await client.subnets(name)).subnets, SUBNET_COLUMNS
    else:
        rows, columns = (await client.reservations(name)).reservations, RESERVATION_COLUMNS
    if not name:
        print_rows(rows, columns, output)
        if not rows:
            note(f"no {what}")
    elif rows:
        print_one(rows[0], columns, output)
    else:
        raise CliError(f"no {what.removesuffix('s')} {name!r}")


async def _quarantines(client: Reads, pool: str, address: str, output: Format) -> None:
    rows = (await client.quarantines(pool)).quarantines
    if not address:
        print_rows(rows, QUARANTINE_COLUMNS, output)
        if not rows:
            note("no quarantines")
        return
    found = [row for row in rows if row.address == address]
    if not found:
        raise CliError(f"{address} is not quarantined")
    print_one(found[0], QUARANTINE_COLUMNS, output)


async def _allocations(client: Reads, query: AllocationsWhere, output: Format) -> None:
    pages = _rows(client, query)
    if not query.id:
        if not await print_pages(pages, ALLOCATION_COLUMNS, output):
            note("no allocations")
        return
    rows = [row async for page in pages for row in page]
    if not rows:
        raise CliError(f"no allocation {query.id!r}")
    print_one(rows[0], ALLOCATION_COLUMNS, output)


async def _applications(client: Reads, namespace: str, name: str, output: Format) -> None:
    from ipledger.engine.queries import Applications

    pages = client.applications(Applications(namespace=namespace, name=name))
    rows = (page.applications async for page in pages)
    if not await print_pages(rows, APPLICATION_COLUMNS, output):
        note("no applications")


async def _rows(client: Reads, query: AllocationsWhere) -> AsyncIterator[tuple[AllocationRow, ...]]:
    async for page in client.allocations(query):
        yield page.allocations
