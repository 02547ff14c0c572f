"""An event loop on which a seed decides everything: no sleeping, no threads, no sockets.

Time passes only when nothing else is left to do. Each callback belongs to the simulated process
whose task it is for, by the context it runs in: that of a dead process is never run, as SIGKILL
does it, and that of a stopped one waits until it goes on (SIGSTOP).

Callbacks that are ready at once are run process by process, in an order that the seed draws. Inside
one process they keep the order that asyncio promises, so what happens here can happen outside.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVarTuple, Unpack

Ts = TypeVarTuple("Ts")
TURNS_AT_ONCE_MAX = 100_000
"""More turns than this without time going by are taken for a program that spins."""


@dataclass(eq=False, slots=True)
class Owner:
    """Whose a callback is, and whether it may run."""

    alive: bool = True
    stopped: bool = False
    parked: list[Turn] = field(default_factory=list["Turn"])


OWNER: ContextVar[Owner | None] = ContextVar("OWNER", default=None)
"""Who runs; None is the world itself, which never dies."""


class Turn(asyncio.TimerHandle):
    """A callback that waits for its turn."""

    __slots__ = ("arguments", "at", "context", "dropped", "owner", "work")

    def __init__(
        self, at: float, work: Callable[..., object], arguments: tuple[Any, ...], context: Context
    ) -> None:
        self.at = at
        self.work = work
        self.arguments = arguments
        self.context = context
        self.dropped = False
        self.owner = context.get(OWNER)

    def cancel(self) -> None:
        """See `asyncio.Handle.cancel`."""
        self.dropped = True

    def cancelled(self) -> bool:
        """See `asyncio.Handle.cancelled`."""
        return self.dropped

    def when(self) -> float:
        """See `asyncio.TimerHandle.when`."""
        return self.at


class SimulatedLoop(asyncio.BaseEventLoop):
    """The loop of one run. `errors` are what callbacks and forgotten tasks raised."""

    def __init__(self, random: Random | None = None) -> None:
        super().__init__()
        self.now = 0.0
        self.turns = 0
        self.errors: list[str] = []
        self._random = random
        self._soon: deque[Turn] = deque()
        self._later: list[tuple[float, int, Turn]] = []
        self._pushed = 0
        self._quiet_since = 0
        self.set_exception_handler(self._note_error)

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self.now

    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> Turn:
        """See `asyncio.AbstractEventLoop.call_soon`."""
        turn = Turn(self.now, callback, args, copy_context() if context is None else context)
        self._soon.append(turn)
        return turn

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> Turn:
        """See `asyncio.AbstractEventLoop.call_at`. Of two at one time the first comes first."""
        turn = Turn(when, callback, args, copy_context() if context is None else context)
        self._pushed += 1
        heapq.heappush(self._later, (when, self._pushed, turn))
        return turn

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> Turn:
        """See `asyncio.AbstractEventLoop.call_later`."""
        return self.call_at(self.now + max(delay, 0.0), callback, *args, context=context)

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> Turn:
        """There is one thread."""
        return self.call_soon(callback, *args, context=context)

    def go_on(self, owner: Owner) -> None:
        """Let a stopped owner run again: all that waited for it comes at once."""
        owner.stopped = False
        self._soon.extend(owner.parked)
        owner.parked.clear()

    def _run_once(self) -> None:
        """Run what is ready; if nothing is, go on to the next timer."""
        if not self._soon:
            assert self._later, "nothing will ever happen again"
            self.now = max(self.now, self._later[0][0])
            self._quiet_since = self.turns
        assert self.turns - self._quiet_since < TURNS_AT_ONCE_MAX, "it spins"
        while self._later and self._later[0][0] <= self.now:
            self._soon.append(heapq.heappop(self._later)[2])
        batch, self._soon = self._soon, deque()
        for turn in self._in_drawn_order(batch):
            self._take(turn)

    def _in_drawn_order(self, batch: deque[Turn]) -> deque[Turn] | list[Turn]:
        if self._random is None or len(batch) == 1:
            return batch
        owners = list(dict.fromkeys(turn.owner for turn in batch))
        self._random.shuffle(owners)
        return [turn for owner in owners for turn in batch if turn.owner is owner]

    def _take(self, turn: Turn) -> None:
        owner = turn.owner
        if turn.dropped:
            return
        if owner is not None and (owner.stopped or not owner.alive):
            owner.parked.append(turn)
            return
        self.turns += 1
        try:
            turn.context.run(turn.work, *turn.arguments)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.errors.append(f"a callback raised {error!r}")

    def _note_error(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.errors.append(f"{context['message']}: {context.get('exception')!r}")

    def _process_events(self, event_list: object) -> None:
        raise NotImplementedError("there are no sockets")

    def _write_to_self(self) -> None:
        """Nobody waits, so nobody has to be woken."""
