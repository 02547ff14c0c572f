"""What one run shares: the seed's randomness, the clock, the trace, and what was found wrong."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from random import Random
from typing import Any

from simulation.loop import OWNER, Owner, SimulatedLoop

NOON = 1795348800_000000
"""2026-11-22T12:00:00Z in microseconds since the Unix epoch: when every run begins."""
REALM = "sim"
TRACE_MAX = 300


class WrongError(Exception):
    """Something is not as it must be. The text says what."""


class World:
    """One run's surroundings. `verbose` lines go to `tell` as they come."""

    def __init__(self, seed: int, loop: SimulatedLoop, tell: Callable[[str], None] | None) -> None:
        self.seed = seed
        self.loop = loop
        self.context = copy_context()
        self.trace: deque[str] = deque(maxlen=TRACE_MAX)
        self.counts: Counter[str] = Counter()
        self.wrong: asyncio.Future[None] = loop.create_future()
        self.is_calm = False
        """Whether no more is to go wrong: whatever ends is run again."""
        self.is_over = False
        """At the end all that still runs is cancelled, and nothing reaches anybody any more."""
        self._hash = hashlib.sha256()
        self._tell = tell
        self._owners: dict[Owner, None] = {}

    def random(self, what: str) -> Random:
        """Randomness of its own for one use, so that one more draw there changes nothing here."""
        return Random(f"{self.seed} {what}")

    def note(self, line: str) -> None:
        """A line of the trace."""
        if self.is_over:
            return
        text = f"{self.loop.time():10.6f} {line}"
        self.trace.append(text)
        self._hash.update(text.encode())
        if self._tell is not None:
            self._tell(text)

    def detail(self, line: Callable[[], str]) -> None:
        """A line that only a verbose trace has."""
        if self._tell is not None:
            self._tell(f"{self.loop.time():10.6f}   {line()}")

    def fail(self, what: str) -> None:
        """End the run: this is wrong."""
        if not self.wrong.done() and not self.is_over:
            self.note(f"WRONG: {what}")
            self.wrong.set_exception(WrongError(what))

    def expect(self, fact: object, what: str) -> None:
        """Fail unless this is so."""
        if not fact:
            self.fail(what)

    def spawn(
        self, work: Coroutine[Any, Any, Any], owner: Owner | None = None
    ) -> asyncio.Task[Any]:
        """Run something for an owner. What it raises is wrong."""
        if owner is not None:
            self._owners[owner] = None
        context = self.context.copy()
        context.run(OWNER.set, owner)
        task = self.loop.create_task(work, context=context)
        task.add_done_callback(self._ended, context=self.context)
        return task

    def at(self, when: float, work: Callable[..., object], *arguments: Any) -> None:
        """Do something of the world's own at a time."""
        self.loop.call_at(when, work, *arguments, context=self.context)

    def digest(self) -> str:
        """The hash of the trace and of how many turns it took."""
        whole = self._hash.copy()
        whole.update(str(self.loop.turns).encode())
        return whole.hexdigest()

    async def end(self) -> None:
        """Cancel all that runs, the tasks of the dead too."""
        self.is_over = True
        for owner in self._owners:
            owner.alive = True
            self.loop.go_on(owner)
        running = asyncio.all_tasks(self.loop) - {asyncio.current_task(self.loop)}
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=60)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if self.is_over or task.cancelled():
            return
        error = task.exception()
        if isinstance(error, WrongError):
            self.fail(str(error))
        elif error is not None:
            self.fail(f"{task.get_coro()} died of {error!r}")
