"""The engine's reads, answered from a state of the past: the same rows, by the same functions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from ipledger.engine import queries
from ipledger.engine.answers import Page
from ipledger.engine.refusals import Refusal
from ipledger.projections.state import State


@dataclass(frozen=True, slots=True)
class StateReads:
    """What `EngineClient` answers, of one state."""

    state: State

    @property
    def _position(self) -> str:
        return str(self.state.position)

    async def pools(self, name: str = "") -> Page:
        """See `EngineClient.pools`."""
        return Page(self._position, pools=queries.pools(self.state, queries.Pools(name=name)))

    async def subnets(self, name: str = "") -> Page:
        """See `EngineClient.subnets`."""
        rows = queries.subnets(self.state, queries.Subnets(name=name))
        return Page(self._position, subnets=rows)

    async def reservations(self, name: str = "") -> Page:
        """See `EngineClient.reservations`."""
        rows = queries.reservations(self.state, queries.Reservations(name=name))
        return Page(self._position, reservations=rows)

    async def allocations(self, query: queries.AllocationsWhere) -> AsyncIterator[Page]:
        """See `EngineClient.allocations`."""
        found = queries.allocations(self.state, query)
        assert not isinstance(found, Refusal), "no address is asked for"
        for page in queries.pages(self._position, found):
            yield page

    async def applications(self, query: queries.Applications) -> AsyncIterator[Page]:
        """See `EngineClient.applications`."""
        for page in queries.pages(self._position, queries.applications(self.state, query)):
            yield page
