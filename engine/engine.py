"""The engine: load the log, take leadership, serve, and begin again when deposed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ipledger import __version__
from ipledger.engine.answers import Status
from ipledger.engine.checkpoints import Checkpoints
from ipledger.engine.commit_loop import CommitLoop, DeposedError, Request
from ipledger.engine.second_copy import SecondCopy, first_to_end
from ipledger.engine.snapshots import Snapshots, load
from ipledger.events.clock import format_time
from ipledger.events.log import Log, LogUnavailableError
from ipledger.projections.state import State

_log = logging.getLogger(__name__)

_AGAIN_DELAY_S = 0.5


def wall_clock() -> int:
    """Now, in microseconds since the Unix epoch."""
    return time.time_ns() // 1000


@dataclass(slots=True)
class Engine:
    """One engine of a realm. `name` tells it from others in the log.

    With a second copy, it leads and serves only while the log agrees with the copy. With
    checkpoints, it signs them.
    """

    log: Log
    realm: str
    name: str
    clock: Callable[[], int] = wall_clock
    second_copy: SecondCopy | None = None
    checkpoints: Checkpoints | None = None
    snapshots: Snapshots | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    _loop: CommitLoop | None = field(default=None, init=False)
    _stopping: bool = field(default=False, init=False)

    def submit(self, request: Request) -> bool:
        """Queue a request. False when this engine does not lead or is full: try again."""
        return self._loop is not None and self._loop.submit(request)

    @property
    def waiting(self) -> int:
        """How many requests wait to be decided."""
        return self._loop.waiting if self._loop is not None else 0

    def stop(self) -> None:
        """Make `run` return once what waits is answered."""
        self._stopping = True
        if self._loop is not None:
            self._loop.stop()

    async def run(self) -> None:
        """Lead and serve until `stop`. Raises `BrokenLogError` if the log is not whole."""
        if self.second_copy is None:
            await self._run()
        else:
            await first_to_end(self._run(), self.second_copy.run(self.log))

    async def _run(self) -> None:
        while not self._stopping:
            try:
                await self._lead()
            except DeposedError as error:
                _log.warning("another engine leads: %s", error)
            except LogUnavailableError as error:
                _log.warning("the log cannot be read, trying again: %s", error)
            else:
                continue
            finally:
                self.ready.clear()
                self._loop = None
            await asyncio.sleep(_AGAIN_DELAY_S)

    async def _lead(self) -> None:
        if self.second_copy is not None:
            await self.second_copy.check(self.log)
        fold = await load(self.log, self.snapshots)
        loop = CommitLoop(self.log, fold, self.clock, checkpoints=self.checkpoints)
        await loop.take_leadership(self.name, __version__)
        _log.info(
            "leading realm %s in epoch %d from commit %d",
            self.realm,
            fold.state.epoch,
            fold.sequence,
        )
        self._loop = loop
        if self._stopping:
            loop.stop()
        self.ready.set()
        taking = self.snapshots.taking(loop, fold) if self.snapshots else contextlib.nullcontext()
        async with taking:
            await loop.run()

    def status(self, state: State) -> Status:
        """How the engine is, as a read of the state."""
        return Status(
            position=str(state.position),
            realm=self.realm,
            engine=state.engine,
            version=__version__,
            epoch=state.epoch,
            time=format_time(self.clock()),
            pools=len(state.pools),
            allocations=len(state.allocations),
            queue=self.waiting,
        )
