"""The log as the controller reads it: a fold of its own, and word of what changed.

It reads and never appends. Polling the engine would read every allocation of a pool again to find
the one that changed; the log says which one (ADR 61).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from ipledger.engine.replica import Replica
from ipledger.engine.snapshots import Snapshots, load
from ipledger.events.facts import Pod
from ipledger.events.log import FollowedLog, LogUnavailableError
from ipledger.events.position import Position
from ipledger.events.types import AnyEvent
from ipledger.kube.touched import Touched, pods_touched, touched
from ipledger.projections.state import State

_log = logging.getLogger(__name__)

_AGAIN_S = 0.5
_BEHIND_S = 5.0


class BehindError(Exception):
    """The log could not be read up to a position in time."""


@dataclass(slots=True)
class LogView:
    """A fold of `log` that goes on with it. `on_touched` is told of what changed, once a commit.

    `on_pods` is told of the pods whose allocations changed.
    """

    log: FollowedLog
    snapshots: Snapshots | None
    on_touched: Callable[[set[Touched]], None]
    on_pods: Callable[[set[Pod]], None] | None = None
    loaded: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _replica: Replica | None = field(default=None, init=False)
    _touched: set[Touched] = field(default_factory=set[Touched], init=False)
    _pods: set[Pod] = field(default_factory=set[Pod], init=False)

    @property
    def state(self) -> State:
        """What is durable, as far as it was read. To be asked once it is loaded."""
        assert self._replica is not None
        return self._replica.fold.state

    async def run(self) -> None:
        """Load, and follow until cancelled. Raises `BrokenLogError`."""
        fold = None
        while fold is None:
            try:
                fold = await load(self.log, self.snapshots)
            except LogUnavailableError as error:
                _log.warning("the log cannot be read, trying again: %s", error)
                await asyncio.sleep(_AGAIN_S)
        fold.before_event = self._before
        self._replica = Replica(self.log, self._on_commit, fold)
        self.loaded.set()
        await self._replica.follow()

    async def reached(self, position: Position) -> None:
        """Return when the state has what an engine answered at a position. Raises `BehindError`."""
        assert self._replica is not None
        await self._replica.reached(position, _BEHIND_S)
        if self.state.position < position:
            raise BehindError(f"the log was read up to {self.state.position}, not to {position}")

    def _before(self, state: State, event: AnyEvent) -> None:
        self._touched.update(touched(state, event))
        if self.on_pods is not None:
            self._pods.update(pods_touched(state, event))

    def _on_commit(self, state: State) -> None:
        if self._touched:
            names, self._touched = self._touched, set()
            self.on_touched(names)
        if self._pods and self.on_pods is not None:
            pods, self._pods = self._pods, set()
            self.on_pods(pods)
