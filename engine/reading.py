"""Reading: the rows that answer a query, from one state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import msgspec

from ipledger.engine.answers import Page
from ipledger.engine.queries import (
    AllocationsWhere,
    Applications,
    Attached,
    Pools,
    Quarantines,
    Reservations,
    Subnets,
)
from ipledger.engine.refusals import Reason, Refusal
from ipledger.engine.subnets import pools_of
from ipledger.events.addresses import parse_ip
from ipledger.events.facts import ReservationSpec
from ipledger.projections.allocations import Allocation
from ipledger.projections.applications import ApplicationKey
from ipledger.projections.pool import Pool
from ipledger.projections.ranges import Intervals, common, members, parse_ranges, size
from ipledger.projections.row_makers import (
    allocation_row,
    application_row,
    pool_row,
    quarantine_row,
    reservation_row,
    subnet_row,
)
from ipledger.projections.rows import (
    ApplicationRow,
    PoolRow,
    QuarantineRow,
    ReservationRow,
    SubnetRow,
)
from ipledger.projections.state import State

PAGE_ROWS = 500

Found: TypeAlias = list[Allocation] | list[ApplicationRow]
"""What is answered part by part: there may be more than a message takes."""


def pools(state: State, query: Pools) -> tuple[PoolRow, ...]:
    """The pools asked for."""
    names = [query.name] if query.name else sorted(state.pools)
    found = [state.pools[name] for name in names if name in state.pools]
    return tuple(pool_row(pool, state.quarantined_in(pool)) for pool in found)


def subnets(state: State, query: Subnets) -> tuple[SubnetRow, ...]:
    """The subnets asked for, with the pools that take their addresses from them."""
    names = [query.name] if query.name else sorted(state.subnets)
    specs = [state.subnets[name] for name in names if name in state.subnets]
    return tuple(subnet_row(spec, pools_of(state, spec)) for spec in specs)


def reservations(state: State, query: Reservations) -> tuple[ReservationRow, ...]:
    """The reservations asked for, with how many of their addresses are held."""
    names = [query.name] if query.name else sorted(state.reservations)
    rows: list[ReservationRow] = []
    for spec in (state.reservations[name] for name in names if name in state.reservations):
        intervals = parse_ranges(spec.ips, spec.ip_version)
        held = sum(len(members(pool.taken, part)) for pool, part in _parts(state, spec, intervals))
        rows.append(reservation_row(spec, total=size(intervals), allocated=held))
    return tuple(rows)


def quarantines(state: State, query: Quarantines) -> tuple[QuarantineRow, ...]:
    """The quarantined addresses asked for."""
    rows = (
        quarantine_row(state.quarantined[address], state.pool_of(*address))
        for address in sorted(state.quarantined)
    )
    return tuple(row for row in rows if query.pool in ("", row.pool))


def applications(state: State, query: Applications) -> list[ApplicationRow]:
    """The applications asked for, with their auto pools that give out addresses."""
    pools: dict[ApplicationKey, list[str]] = {}
    for auto, name in state.directory.auto.items():
        pools.setdefault(auto.application, []).append(name)
    return [
        application_row(state.applications[key], sorted(pools.get(key, ())))
        for key in sorted(state.applications, key=lambda key: (*key[1:], key.group))
        if query.namespace in ("", key.namespace) and query.name in ("", key.name)
    ]


def _parts(
    state: State, spec: ReservationSpec, intervals: Intervals
) -> Iterator[tuple[Pool, Intervals]]:
    """The pools that a reservation overlaps, and where."""
    for pool in state.pools.values():
        if pool.spec.ip_version == spec.ip_version and (part := common(pool.usable, intervals)):
            yield pool, part


def _held_in_spite(state: State, name: str) -> Iterator[Allocation]:
    """The allocations with an address that a reservation names."""
    spec = state.reservations.get(name)
    if spec is not None:
        intervals = parse_ranges(spec.ips, spec.ip_version)
        for pool, part in _parts(state, spec, intervals):
            held = sorted(members(pool.taken, part))
            yield from (state.allocations.numbered(pool.taken[address]) for address in held)


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
    elif query.uid:
        found = state.allocations.of_pod(query.uid)
    elif query.reservation:
        found = _held_in_spite(state, query.reservation)
    elif query.pool:
        numbers = state.pools[query.pool].taken.values() if query.pool in state.pools else ()
        found = map(state.allocations.numbered, numbers)
    else:
        found = state.allocations.all()
    return [a for a in found if a is not None and _matches(a, query)]


def attached(state: State, query: Attached) -> list[Allocation]:
    """What the attachment holds, if it is one of the node."""
    found = state.allocations.at((query.sandbox, query.interface))
    return [found] if found is not None and found.node == query.node else []


def _matches(allocation: Allocation, query: AllocationsWhere) -> bool:
    asked = (
        (query.id, allocation.id),
        (query.namespace, allocation.common.namespace),
        (query.pod, allocation.pod_name),
        (query.uid, allocation.pod_uid),
        (query.node, allocation.node),
        (query.sandbox, allocation.sandbox),
        (query.interface, allocation.interface),
    )
    return all(not want or want == have for want, have in asked) and (
        not query.pool or any(held.pool == query.pool for held in allocation.addresses)
    )


def halves(page: Page) -> tuple[Page, Page] | None:
    """A page of allocations or applications as two, None if it has one row or none."""
    middle = max(len(page.allocations), len(page.applications)) // 2
    if not middle:
        return None
    return (
        msgspec.structs.replace(
            page,
            allocations=page.allocations[:middle],
            applications=page.applications[:middle],
            last=False,
        ),
        msgspec.structs.replace(
            page, allocations=page.allocations[middle:], applications=page.applications[middle:]
        ),
    )


def pages(position: str, found: Found) -> Iterator[Page]:
    """Rows in parts that fit a message; at least one part."""
    for start in range(0, max(len(found), 1), PAGE_ROWS):
        part, last = found[start : start + PAGE_ROWS], start + PAGE_ROWS >= len(found)
        yield Page(
            position,
            allocations=tuple([allocation_row(a) for a in part if isinstance(a, Allocation)]),
            applications=tuple([a for a in part if isinstance(a, ApplicationRow)]),
            last=last,
        )
