"""Keys that want work, each once at a time, and again after a pause where it failed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Generic, TypeVar

from ipledger.events.tasks import first_to_end
from ipledger.projections.cluster.live.pauses import Pauses

K = TypeVar("K", bound=Hashable)

_FIRST_S, _LONGEST_S = 0.1, 30.0


@dataclass(slots=True)
class WorkQueue(Generic[K]):
    """Calls `work(key)` for each key that was added, several keys at a time, one key once.

    A key that is added while it waits is worked on once; while it is worked on, once more behind
    that. `work` raises for what is to be tried again; `failed` is told. `random` gives numbers
    from 0 to 1. `told` hears of every key how long it took, and whether it is done.
    """

    work: Callable[[K], Awaitable[None]]
    failed: Callable[[K, Exception, float], None]
    random: Callable[[], float]
    expected: tuple[type[Exception], ...]
    told: Callable[[K, float, bool], None] = lambda key, seconds, done: None
    _waiting: dict[K, None] = field(default_factory=dict[K, None], init=False)
    _busy: set[K] = field(default_factory=set[K], init=False)
    _again: set[K] = field(default_factory=set[K], init=False)
    _timers: dict[K, asyncio.TimerHandle] = field(
        default_factory=dict[K, asyncio.TimerHandle], init=False
    )
    _pauses: dict[K, Pauses] = field(default_factory=dict[K, Pauses], init=False)
    _news: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def __len__(self) -> int:
        """How many keys want work now."""
        return len(self._waiting)

    def add(self, key: K) -> None:
        """This key wants work now."""
        if key in self._busy:
            self._again.add(key)
        else:
            self._waiting[key] = None
            self._news.set()

    def add_later(self, key: K, after_s: float) -> None:
        """This key wants work in so many seconds, if not before by another timer."""
        at = asyncio.get_running_loop().time() + after_s
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= at:
                return
            timer.cancel()
        self._timers[key] = asyncio.get_running_loop().call_at(at, self._due, key)

    async def run(self, workers: int) -> None:
        """Work until cancelled. What `work` raises and nobody expects is raised here."""
        try:
            await first_to_end(*(self._run() for _ in range(workers)))
        finally:
            for timer in self._timers.values():
                timer.cancel()

    async def _run(self) -> None:
        while True:
            while not self._waiting:
                self._news.clear()
                await self._news.wait()
            key = next(iter(self._waiting))
            del self._waiting[key]
            self._busy.add(key)
            try:
                await self._do(key)
            finally:
                self._busy.discard(key)
            if key in self._again:
                self._again.discard(key)
                self.add(key)

    async def _do(self, key: K) -> None:
        began = perf_counter()
        try:
            await self.work(key)
            self._pauses.pop(key, None)
            self.told(key, perf_counter() - began, True)
        except self.expected as error:
            pauses = self._pauses.setdefault(key, Pauses(self.random, _FIRST_S, _LONGEST_S))
            pause_s = pauses.next_s()
            self.failed(key, error, pause_s)
            self.told(key, perf_counter() - began, False)
            self.add_later(key, pause_s)

    def _due(self, key: K) -> None:
        del self._timers[key]
        self.add(key)
