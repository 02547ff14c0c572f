"""The engine's reads, answered from a state of the past: the same rows, by the same functions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from ipledger.engine import queries, reading
from ipledger.engine.answers import Page
from ipledger.engine.refusals import Refusal
from ipledger.projections.exhaustion import Exhaustion
from ipledger.projections.pool import Pool
from ipledger.projections.state import State


async def _unknown(pool: Pool) -> Exhaustion | None:
    return None


@dataclass(frozen=True, slots=True)
class StateReads:
    """What `EngineClient` answers, of one state; `exhaustion` is asked about a pool of it."""

    state: State
    exhaustion: Callable[[Pool], Awaitable[Exhaustion | None]] = _unknown

    @property
    def _position(self) -> str:
        return str(self.state.position)

    async def pools(self, name: str = "") -> Page:
        """See `EngineClient.pools`. Only one that is named has a forecast."""
        rows = reading.pools(self.state, queries.Pools(name=name))
        pool = self.state.pools.get(name)
        found = None if pool is None else await self.exhaustion(pool)
        told = () if found is None else (found,)
        return Page(self._position, pools=rows, exhaustion=told)

    async def subnets(self, name: str = "") -> Page:
        """See `EngineClient.subnets`."""
        rows = reading.subnets(self.state, queries.Subnets(name=name))
        return Page(self._position, subnets=rows)

    async def quarantines(self, pool: str = "") -> Page:
        """See `EngineClient.quarantines`."""
        rows = reading.quarantines(self.state, queries.Quarantines(pool=pool))
        return Page(self._position, quarantines=rows)

    async def reservations(self, name: str = "") -> Page:
        """See `EngineClient.reservations`."""
        rows = reading.reservations(self.state, queries.Reservations(name=name))
        return Page(self._position, reservations=rows)

    async def allocations(self, query: queries.AllocationsWhere) -> AsyncIterator[Page]:
        """See `EngineClient.allocations`."""
        found = reading.allocations(self.state, query)
        assert not isinstance(found, Refusal), "no address is asked for"
        for page in reading.pages(self._position, found):
            yield page

    async def applications(self, query: queries.Applications) -> AsyncIterator[Page]:
        """See `EngineClient.applications`."""
        for page in reading.pages(self._position, reading.applications(self.state, query)):
            yield page
