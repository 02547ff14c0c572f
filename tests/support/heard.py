"""A watch that is read, and what was heard of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Any

from ipledger.projections.cluster.live.watch import Watch
from ipledger.projections.cluster.metadata import Key, Object
from ipledger.projections.cluster.mirror import Added, Change, Deleted, Mirror, Modified, Synced


class Heard:
    """The changes so far. `objects` is what somebody knows who has heard them and nothing else."""

    def __init__(self) -> None:
        self.changes: list[Change[Any] | Synced] = []
        self.objects: dict[Key, Object] = {}
        self._news = asyncio.Event()

    def take(self, change: Change[Any] | Synced) -> None:
        """Hear a change; it must fit to those before."""
        self.changes.append(change)
        match change:
            case Added(found):
                assert found.key not in self.objects
                self.objects[found.key] = found
            case Modified(found, before):
                assert self.objects[found.key] == before
                assert found.uid == before.uid
                self.objects[found.key] = found
            case Deleted(found):
                assert self.objects.pop(found.key).uid == found.uid
            case Synced():
                pass
        self._news.set()

    async def until(self, done: Callable[[], object]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(30):
            while not done():
                self._news.clear()
                await self._news.wait()

    async def synced(self, count: int = 1) -> None:
        """Wait for so many whole lists."""
        await self.until(lambda: sum(isinstance(c, Synced) for c in self.changes) >= count)

    async def named(self, *names: str) -> None:
        """Wait until these objects are there, and no others."""
        await self.until(lambda: {key.name for key in self.objects} == set(names))

    def words(self) -> list[str]:
        """The changes as words: `added web-0`."""
        return [words(change) for change in self.changes]

    def agrees_with(self, mirror: Mirror[Any]) -> bool:
        """Whether the mirror has what was heard."""
        return {found.key: found for found in mirror} == self.objects


def words(change: Change[Any] | Synced) -> str:
    """A change as words."""
    what = type(change).__name__.lower()
    return what if isinstance(change, Synced) else f"{what} {change.object.metadata.name}"


@contextlib.asynccontextmanager
async def hearing(watch: Watch[Any]) -> AsyncGenerator[Heard]:
    """Read a watch. In the end the mirror has what was heard."""
    heard = Heard()

    async def read() -> None:
        async for change in watch.changes():
            heard.take(change)

    reading = asyncio.create_task(read())
    try:
        yield heard
        assert not reading.done(), reading.result()
    finally:
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
    assert heard.agrees_with(watch.objects)
