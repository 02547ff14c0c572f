"""A real commit loop at which a test can ask one thing after another, on a clock of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from ipledger.engine.commands import AnyCommand
from ipledger.engine.commit_loop import CommitLoop, Look, Request
from ipledger.engine.metrics.tally import Tally
from ipledger.engine.waiting import QUEUE_MAX
from ipledger.events import commit
from ipledger.events.log import Entry
from ipledger.events.memory import MemoryLog
from ipledger.events.types import AnyEvent
from ipledger.projections.fold import Fold
from ipledger.projections.state import State

NOON = 1795348800_000000
"""2026-11-22T12:00:00Z in microseconds since the Unix epoch: when every test begins."""

SECOND = 1_000_000


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> int:
        return self.now


class Desk:
    """A commit loop over a log in memory that leads in epoch 1 and serves."""

    def __init__(self, log: MemoryLog | None = None, queue_max: int = QUEUE_MAX) -> None:
        self.log = log if log is not None else MemoryLog()
        self.fold = Fold()
        self.clock = Clock()
        self.tally = Tally()
        self.loop = CommitLoop(self.log, self.fold, self.clock, queue_max, tally=self.tally)
        self.task: asyncio.Task[None] | None = None

    def submit(self, work: AnyCommand | Look) -> asyncio.Future[Any] | None:
        """Queue something; the answer comes as a future. None when it was not taken."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def reply(answer: object) -> None:
            future.set_result(answer)

        node = getattr(work, "node", "")
        return future if self.loop.submit(Request(work, reply, node=node)) else None

    async def ask(self, work: AnyCommand | Look) -> Any:
        """Queue something and wait for its answer."""
        answer = self.submit(work)
        assert answer is not None, "the queue took no more"
        running = {answer, self.task} if self.task else {answer}
        await asyncio.wait(running, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done() and self.task:
            await self.task  # it died, and this tells of what
        return answer.result()

    def events(self, behind: int = 0) -> list[AnyEvent]:
        """The events of the log behind a sequence."""
        return [e for payload in self.log.payloads[behind:] for e in commit.decode(payload).events]


def replay(payloads: list[bytes]) -> State:
    """The state that a replica folds from stored commits."""
    fold = Fold()
    for sequence, payload in enumerate(payloads, 1):
        fold.apply(Entry(sequence, payload))
    return fold.state


@contextlib.asynccontextmanager
async def serving(desk: Desk) -> AsyncGenerator[Desk]:
    """The desk leads and serves; in the end a replica must have folded the same state."""
    await desk.loop.take_leadership("engine-1", "0")
    desk.task = asyncio.create_task(desk.loop.run())
    try:
        yield desk
    finally:
        desk.loop.stop()
        await asyncio.wait_for(desk.task, 60)
    assert replay(desk.log.payloads).digest() == desk.fold.state.digest(), "invariant 5"
