"""The log in memory: the twin of JetStream for tests and simulation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from ipledger.events.log import Appended, Conflict, Entry

_PAYLOAD_BYTES_MAX = 1024 * 1024


class MemoryLog:
    """A `Log` that lasts as long as the object. `payloads[i]` is the entry of sequence i+1."""

    def __init__(self, payload_bytes_max: int = _PAYLOAD_BYTES_MAX) -> None:
        self.payload_bytes_max = payload_bytes_max
        self.payloads: list[bytes] = []
        self._grown = asyncio.Condition()

    async def append(
        self, payload: bytes, *, after: int, traceparent: str = ""
    ) -> Appended | Conflict:
        """See `Log.append`."""
        assert len(payload) <= self.payload_bytes_max
        async with self._grown:
            if len(self.payloads) == after:
                self.payloads.append(payload)
                self._grown.notify_all()
                return Appended(after + 1)
            if after < len(self.payloads) and self.payloads[after] == payload:
                return Appended(after + 1)
            return Conflict(len(self.payloads))

    async def last(self) -> int:
        """See `ReadableLog.last`."""
        return len(self.payloads)

    async def get(self, sequence: int) -> Entry | None:
        """See `ReadableLog.get`."""
        if not 0 < sequence <= len(self.payloads):
            return None
        return Entry(sequence, self.payloads[sequence - 1])

    async def read(self, after: int) -> AsyncIterator[Entry]:
        """See `ReadableLog.read`."""
        for sequence in range(after + 1, len(self.payloads) + 1):
            yield Entry(sequence, self.payloads[sequence - 1])

    async def follow(self, after: int) -> AsyncIterator[Entry]:
        """See `Log.follow`."""
        while True:
            async with self._grown:
                while len(self.payloads) <= after:
                    await self._grown.wait()
            after += 1
            yield Entry(after, self.payloads[after - 1])
