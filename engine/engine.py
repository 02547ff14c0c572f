"""The engine: follow the log and answer questions; lead where nobody does; follow again.

    loading -> standby -> leader -> standby, or loading where the state was speculative
                      \\-> stopped

Leading begins with an append, `LeadershipTaken`, and ends with one that is refused; that is all
that safety needs. Heartbeats make it quick (engine/heartbeats.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any, TypeVar

from ipledger import __version__
from ipledger.engine.answers import Refused, Status, TryAgain
from ipledger.engine.checkpoints import Checkpoints
from ipledger.engine.commit_loop import CommitLoop, DeposedError, Look, Reply, Request, loop_time
from ipledger.engine.heartbeats import Heartbeat, Heartbeats
from ipledger.engine.metrics.tally import Tally
from ipledger.engine.refusals import Reason, Refusal
from ipledger.engine.replica import Replica
from ipledger.engine.second_copy import SecondCopy
from ipledger.engine.snapshots import Snapshots, load
from ipledger.events.bus import Bus
from ipledger.events.clock import format_time
from ipledger.events.log import Log, LogUnavailableError
from ipledger.events.logs import tell
from ipledger.events.position import START, Position
from ipledger.events.tasks import end, first_to_end
from ipledger.events.wall_clock import wall_clock
from ipledger.projections.exhaustion import Exhaustion, Usage
from ipledger.projections.fold import Fold
from ipledger.projections.rows import PoolRow
from ipledger.projections.state import State

_log = logging.getLogger(__name__)

T = TypeVar("T")

_AGAIN_DELAY_S = 0.5
_AT_REST_S = 1.0
_BEHIND_WAIT_S = 0.4
"""How long a question waits for an engine that is behind: less than its asker does."""


class Role(StrEnum):
    """What an engine does now."""

    LOADING = "loading"
    """It folds the log, and answers nothing."""
    STANDBY = "standby"
    """It follows the log and answers questions."""
    LEADER = "leader"
    """It decides and commits, too."""
    STOPPED = "stopped"


async def _ignore(role: Role) -> None:
    pass


@dataclass(slots=True)
class Engine:
    """One engine of a realm. `name` tells it from others in the log.

    `alone` says that no other one is expected: it begins by leading, not by listening. `on_role`
    is awaited at each change of roles. `ready` is set when it can be asked, which for an engine
    that begins by leading is when it leads or was refused. With a second copy, it serves and
    leads only while the log agrees with the copy. With checkpoints, it signs them; with snapshots,
    it begins from one and takes others while it leads. `usage` has what
    `observe_usage` saw.
    """

    log: Log
    bus: Bus
    realm: str
    name: str
    clock: Callable[[], int] = wall_clock
    monotonic: Callable[[], float] = loop_time
    random: Random = field(default_factory=Random)
    alone: bool = False
    second_copy: SecondCopy | None = None
    checkpoints: Checkpoints | None = None
    snapshots: Snapshots | None = None
    on_role: Callable[[Role], Awaitable[None]] = _ignore
    usage: Usage = field(default_factory=Usage)
    tally: Tally = field(default_factory=Tally, init=False)
    ready: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    role: Role = field(default=Role.LOADING, init=False)
    _heartbeats: Heartbeats = field(init=False)
    _replica: Replica = field(init=False)
    _loop: CommitLoop | None = field(default=None, init=False)
    _stop: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def __post_init__(self) -> None:
        self._heartbeats = Heartbeats(self.bus, self.realm, self.random)
        self._replica = Replica(self.log, self._on_commit)

    def submit(self, request: Request) -> bool:
        """Queue a command. False when this engine does not lead or is full: try again."""
        return self._loop is not None and self._loop.submit(request)

    def has_room(self, node: str) -> bool:
        """Whether a command of a node would be queued now."""
        return self._loop is not None and self._loop.has_room(node)

    def is_behind(self, position: Position) -> bool:
        """Whether `look` would have to wait for the log."""
        return self._loop is None and self._replica.position < self._needed(position)

    def _needed(self, position: Position) -> Position:
        """What a standby must have reached: what is asked for, and what the leader told of."""
        return max(position, self._heartbeats.position)

    async def look(
        self, look: Look, at_least: Position, reply: Reply, node: str = "", places: int = 1
    ) -> None:
        """Answer a read from this engine's fold, at `at_least` or a newer position.

        The leader's reads wait in the queue of commands (ADR 4); a standby has only what is
        durable. An engine that stays behind answers `TryAgain`.
        """
        needed = self._needed(at_least)
        if self.is_behind(at_least):
            await self._replica.reached(needed, _BEHIND_WAIT_S)
        if self.role is Role.STANDBY and self._loop is None:
            await reply(_guarded(look, needed)(self._replica.fold.state))
        elif not self.submit(Request(_guarded(look, at_least), reply, node=node, places=places)):
            await reply(TryAgain("the engine is loading, stopping, or full"))

    async def at_rest(self, look: Callable[[Fold], T]) -> T | None:
        """What `look` makes of the fold at a moment when all that it holds is durable.

        None while the engine loads, or if a commit takes long.
        """
        if self._loop is None:
            return look(self._replica.fold) if self.role is Role.STANDBY else None
        try:
            async with asyncio.timeout(_AT_REST_S):
                return await self._loop.between_commits(look)
        except TimeoutError:
            return None

    def exhaustion(self, pools: Iterable[PoolRow]) -> tuple[Exhaustion, ...]:
        """When these pools are full, as far as enough is known of them."""
        found = (self.usage.of(row.name, row.free) for row in pools)
        return tuple(one for one in found if one is not None)

    async def observe_usage(self) -> None:
        """Take samples of how full the pools are, for forecasts, until cancelled."""
        while True:
            used = await self.at_rest(_used)
            if used is not None:
                self.usage.observe(self.clock(), used)
            await asyncio.sleep(self.usage.every_s)

    @property
    def queue(self) -> int:
        """How many requests wait to be decided."""
        return self._loop.waiting if self._loop is not None else 0

    @property
    def lag(self) -> int:
        """Commits that the leader has told of and this engine has not folded yet."""
        return max(0, self._heartbeats.position.sequence - self._replica.fold.sequence)

    @property
    def folded(self) -> int:
        """Commits that this engine has folded."""
        return self._replica.fold.sequence

    def stop(self) -> None:
        """Make `run` return once what waits is answered, and leadership is given up."""
        self._stop.set()

    async def run(self) -> None:
        """Serve until `stop`. Raises `BrokenLogError` if the log is not whole."""
        if self.second_copy is None:
            await self._run()
        else:
            await first_to_end(self._run(), self.second_copy.run(self.log))

    async def _run(self) -> None:
        await self._heartbeats.start()
        try:
            while not self._stop.is_set():
                await self._until_stopped(self._load())
                if not self.alone:
                    await self._until_stopped(self._replica.follow(), self._heartbeats.silence())
                self.alone = False
                if not self._stop.is_set():
                    await self._lead()
        finally:
            await self._heartbeats.stop()
            await self._become(Role.STOPPED)

    async def _load(self) -> None:
        if self._replica.is_speculative:
            self._replica = Replica(self.log, self._on_commit)
        while self.role is not Role.STANDBY:
            try:
                await self._compare()
                await self._fold()
                await self._become(Role.STANDBY)
            except LogUnavailableError as error:
                _log.warning("the log cannot be read, trying again: %s", error)
                await asyncio.sleep(_AGAIN_DELAY_S)

    async def _fold(self) -> None:
        """Fold to the end of the log; what begins anew begins from a snapshot."""
        if self._replica.position == START:
            fold = await load(self.log, self.snapshots)
            self._replica = Replica(self.log, self._on_commit, fold)
            self._on_commit(fold.state)
        else:
            await self._replica.catch_up()

    async def _compare(self) -> None:
        if self.second_copy is not None:
            await self.second_copy.check(self.log)

    async def _lead(self) -> None:
        try:
            await self._until_stopped(self._take_over())
            if self._loop is not None:
                await self._serve(self._loop)
        except DeposedError as error:
            _log.warning("another engine leads: %s", error)
        except LogUnavailableError as error:
            _log.warning("the log cannot be read: %s", error)
        finally:
            self._loop = None
            self._heartbeats.wait_again()
            await self._become(Role.LOADING if self._replica.is_speculative else Role.STANDBY)

    async def _take_over(self) -> None:
        replica = self._replica
        epoch = replica.fold.state.epoch
        await self._compare()
        await replica.catch_up()
        if replica.fold.state.epoch > epoch:
            raise DeposedError(f"{replica.fold.state.engine} was first to take over")
        loop = CommitLoop(
            self.log,
            replica.fold,
            self.clock,
            checkpoints=self.checkpoints,
            monotonic=self.monotonic,
            tally=self.tally,
        )
        await loop.take_leadership(self.name, __version__)
        self._on_commit(replica.fold.state)
        self._loop = loop

    async def _serve(self, loop: CommitLoop) -> None:
        """Lead until another engine does, or until this one is to stop."""
        epoch = self._replica.fold.state.epoch
        beating = asyncio.create_task(self._heartbeats.beat(self._heartbeat))
        term = asyncio.create_task(loop.run())
        fold = self._replica.fold
        taking = self.snapshots.taking(loop, fold) if self.snapshots else contextlib.nullcontext()
        try:
            async with taking:
                await self._become(Role.LEADER)
                message = f"leading realm {self.realm} in epoch {epoch}"
                tell(_log, logging.INFO, message, realm=self.realm, epoch=epoch)
                await self._until_stopped(_ended(term), self._heartbeats.overtaken(epoch))
                if self._heartbeats.epoch > epoch:
                    raise DeposedError(f"epoch {self._heartbeats.epoch} has begun")
                loop.stop()
                await term
                beating.cancel()
                await self._heartbeats.publish(self._heartbeat(leading=False))
        finally:
            await end(term, beating)

    def _heartbeat(self, *, leading: bool = True) -> Heartbeat:
        fold = self._replica.fold
        durable = Position(fold.sequence, 0)
        return Heartbeat(self.name, fold.state.epoch, str(durable), leading)

    def _on_commit(self, state: State) -> None:
        self._heartbeats.learn(state.epoch)

    async def _become(self, role: Role) -> None:
        if role is not self.role:
            self.role = role
            await self.on_role(role)
        if role is Role.LEADER or (role is Role.STANDBY and not self.alone):
            self.ready.set()

    async def _until_stopped(self, *work: Coroutine[Any, Any, object]) -> None:
        """Return when one of these is done, or this engine is to stop; the rest is cancelled."""
        tasks = [asyncio.create_task(one) for one in (*work, self._stop.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end(*tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()

    def status(self, state: State) -> Status:
        """How the engine is, as a read of the state."""
        return Status(
            position=str(state.position),
            realm=self.realm,
            engine=self.name,
            role=self.role,
            leader=self.name if self.role is Role.LEADER else self._heartbeats.leader,
            version=__version__,
            epoch=state.epoch,
            time=format_time(self.clock()),
            pools=len(state.pools),
            allocations=len(state.allocations),
            queue=self.queue,
        )


def _used(fold: Fold) -> list[tuple[str, int]]:
    """What is in use of each pool; what is reserved or quarantined is not."""
    pools = fold.state.pools.values()
    return [(pool.spec.name, len(pool.taken)) for pool in pools]


def _guarded(look: Look, at_least: Position) -> Look:
    """The look, if the state is at a position or newer."""

    def guarded(state: State) -> object:
        if state.position < at_least:
            return TryAgain(f"the engine is at {state.position}, not yet at {at_least}")
        try:
            return look(state)
        except Exception as error:  # our own mistake must not end the engine for all
            _log.exception("a question cannot be answered")
            refusal = Refusal(Reason.BAD_REQUEST, f"it cannot be answered: {error!r}")
            return Refused(str(state.position), refusal)

    return guarded


async def _ended(task: asyncio.Task[None]) -> None:
    """Wait for a task; to cancel this leaves the task alone."""
    await asyncio.wait((task,))
