"""An allocation that was freed: what it was at its end, and what freed it."""

from __future__ import annotations

import msgspec

from ipledger.engine.queries import AllocationsWhere
from ipledger.events.position import Position
from ipledger.events.types import AddressesReleased
from ipledger.projections.allocations import number_of
from ipledger.projections.rows import AllocationRow
from ipledger.replay.past import Past
from ipledger.replay.reads import StateReads


class EndedRow(AllocationRow, frozen=True, kw_only=True):
    """An allocation as it was at its end.

    `until` is when that was, `reason` and `evidence` what the release says.
    """

    until: str
    until_position: str
    reason: str
    evidence: str

    @property
    def ended(self) -> str:
        """What freed it, in words."""
        return f"freed by {self.reason}" + (f": {self.evidence}" if self.evidence else "")


async def ended_row(past: Past, allocation: str, position: Position) -> EndedRow | None:
    """An allocation that was freed at a position or before, None if none of that id was."""
    try:
        number = number_of(allocation)
    except ValueError:
        return None
    events = await past.allocation_events(number, position)
    if not events or not isinstance(last := events[-1].event, AddressesReleased):
        return None
    end = events[-1]
    reads = StateReads(await past.state(await past.before(end.position)))
    [row] = [
        row
        async for page in reads.allocations(AllocationsWhere(id=allocation))
        for row in page.allocations
    ]
    return EndedRow(
        **msgspec.structs.asdict(row),
        until=end.time,
        until_position=str(end.position),
        reason=last.reason,
        evidence=last.evidence,
    )
