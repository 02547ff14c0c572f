"""Queries: what the engine can be asked, and the rows that answer, read from one state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import msgspec

from ipledger.engine.answers import Page
from ipledger.engine.refusals import Reason, Refusal
from ipledger.events.addresses import parse_ip
from ipledger.projections.allocations import Allocation
from ipledger.projections.rows import PoolRow, allocation_row, pool_row
from ipledger.projections.state import State

PAGE_ROWS = 500


class Query(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Base of all queries."""


class Pools(Query, frozen=True):
    """The pools by name, or the one named."""

    name: str = ""


class AllocationsWhere(Query, frozen=True):
    """The live allocations in the order of their allocation; every field given must match."""

    id: str = ""
    namespace: str = ""
    pod: str = ""
    pool: str = ""
    node: str = ""
    sandbox: str = ""
    interface: str = ""
    address: str = ""


class AskStatus(Query, frozen=True):
    """How the engine is."""


AnyQuery: TypeAlias = Pools | AllocationsWhere | AskStatus


def pools(state: State, query: Pools) -> tuple[PoolRow, ...]:
    """The pools asked for."""
    names = [query.name] if query.name else sorted(state.pools)
    return tuple(pool_row(state.pools[name]) for name in names if name in state.pools)


def allocations(state: State, query: AllocationsWhere) -> list[Allocation] | Refusal:
    """The allocations asked for, found by the most telling key that the query has."""
    found: Iterable[Allocation | None]
    if query.address:
        try:
            found = [state.holder(*parse_ip(query.address))]
        except ValueError as error:
            return Refusal(Reason.BAD_REQUEST, f"address: {error}", "address", query.address)
    elif query.id:
        found = [state.allocations.get(query.id)]
    elif query.sandbox and query.interface:
        found = [state.allocations.at((query.sandbox, query.interface))]
    elif query.pool:
        found = state.pools[query.pool].taken.values() if query.pool in state.pools else ()
    else:
        found = state.allocations.all()
    return [a for a in found if a is not None and _matches(a, query)]


def _matches(allocation: Allocation, query: AllocationsWhere) -> bool:
    asked = (
        (query.id, allocation.id),
        (query.namespace, allocation.pod.namespace),
        (query.pod, allocation.pod.name),
        (query.node, allocation.node),
        (query.sandbox, allocation.sandbox),
        (query.interface, allocation.interface),
    )
    return all(not want or want == have for want, have in asked) and (
        not query.pool or any(held.pool == query.pool for held in allocation.addresses)
    )


def pages(position: str, found: Sequence[Allocation]) -> Iterator[Page]:
    """Rows of allocations in parts that fit a message; at least one part."""
    for start in range(0, max(len(found), 1), PAGE_ROWS):
        rows = tuple(allocation_row(a) for a in found[start : start + PAGE_ROWS])
        yield Page(position, allocations=rows, last=start + PAGE_ROWS >= len(found))
