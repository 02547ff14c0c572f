"""The holder of an address at a moment, as a row."""

from __future__ import annotations

import msgspec

from ipledger.events.clock import format_time
from ipledger.events.position import Position
from ipledger.events.types import AddressesAllocated, AllocationImported, AllocationRebound
from ipledger.projections.history import Interval
from ipledger.projections.rows import AllocationRow
from ipledger.replay.past import Past


class HolderRow(AllocationRow, frozen=True, kw_only=True):
    """An allocation as it was at a moment, and how long this pod had the address.

    `held` says that it was kept for the next pod in its place. `until` and `untilPosition` are ''
    where it lasts.
    """

    held: bool
    from_: str = msgspec.field(name="from")
    from_position: str
    until: str = ""
    until_position: str = ""


async def holder_row(past: Past, interval: Interval, position: Position) -> HolderRow:
    """The row of an interval, from the events of its allocation up to a position."""
    events = await past.allocation_events(interval.allocation, position)
    first = events[0]
    allocated = first.event
    assert isinstance(allocated, AddressesAllocated | AllocationImported), (
        "it begins with addresses"
    )
    sandbox = "" if interval.held else allocated.sandbox
    if not interval.held:
        for logged in events:
            if isinstance(logged.event, AllocationRebound):
                sandbox = logged.event.sandbox
    return HolderRow(
        id=allocated.allocation,
        namespace=interval.namespace,
        pod=interval.pod,
        uid=interval.uid,
        node=interval.node,
        sandbox=sandbox,
        interface=allocated.interface,
        addresses=allocated.addresses,
        since=first.time,
        position=str(first.position),
        network=allocated.network,
        routes=allocated.routes,
        held=interval.held,
        from_=format_time(interval.from_time),
        from_position=str(Position.of_number(interval.from_position)),
        until=format_time(interval.to_time) if interval.to_time is not None else "",
        until_position=_text(interval.to_position),
    )


def _text(number: int | None) -> str:
    return "" if number is None else str(Position.of_number(number))
