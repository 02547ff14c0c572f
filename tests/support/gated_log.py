"""A log in memory whose appends wait at a gate, so that a test can look at one in flight."""

from __future__ import annotations

import asyncio

from ipledger.events.log import Appended, Conflict
from ipledger.events.memory import MemoryLog


class GatedLog(MemoryLog):
    """A `MemoryLog`; while the gate is closed, appends that have arrived wait before it.

    With `one_by_one` the gate closes behind each append that it lets through.
    """

    def __init__(self, payload_bytes_max: int = 1024 * 1024) -> None:
        super().__init__(payload_bytes_max)
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()
        self.one_by_one = False

    async def append(
        self, payload: bytes, *, after: int, traceparent: str = ""
    ) -> Appended | Conflict:
        """See `Log.append`; goes on when the gate is open."""
        self.arrived.set()
        await self.gate.wait()
        if self.one_by_one:
            self.gate.clear()
        return await super().append(payload, after=after, traceparent=traceparent)
