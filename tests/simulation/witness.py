"""What clients were answered: held against the log at the end (invariant 4)."""

from __future__ import annotations

from collections.abc import Awaitable
from contextvars import ContextVar
from typing import NamedTuple, TypeVar

from ipledger.engine.answers import Allocated, AnyAnswer, Applied, Refused, Released
from ipledger.engine.client import EngineClient, RefusedError
from ipledger.engine.commands import Allocate, AnyApply, AnyCommand, Release, ReleaseAllocation
from ipledger.engine.refusals import Refusal
from ipledger.events.position import START, Position
from simulation.world import World

T = TypeVar("T", Allocated, Released, Applied)


class Answered(NamedTuple):
    """A command, and what a client was told: an answer or a refusal."""

    command: AnyCommand
    answer: Allocated | Released | Applied | Refusal


_FLOOR: ContextVar[Position] = ContextVar("_FLOOR", default=START)
"""The newest position that anybody had been answered when this command was first sent."""


class Witness:
    """All that was answered in a run."""

    def __init__(self, world: World) -> None:
        self.answered: list[Answered] = []
        self._newest = START
        self._world = world

    def hear(self, answer: AnyAnswer) -> None:
        """An answer to a command: it must not be from before what was answered before (ADR 20)."""
        if isinstance(answer, Allocated | Released | Applied | Refused) and answer.position:
            position = Position.parse(answer.position)
            floor = _FLOOR.get()
            self._world.expect(
                position >= floor, f"ADR 20: asked after {floor} was answered, told of {answer}"
            )
            self._newest = max(self._newest, position)

    async def note(self, command: AnyCommand, asking: Awaitable[T]) -> T:
        """Ask, and take down the answer."""
        _FLOOR.set(self._newest)
        try:
            answer = await asking
        except RefusedError as error:
            self.answered.append(Answered(command, error.refusal))
            raise
        self.answered.append(Answered(command, answer))
        return answer


class WitnessedClient(EngineClient):
    """The real client, whose answers are taken down."""

    witness: Witness

    def _remember(self, answer: AnyAnswer) -> None:
        self.witness.hear(answer)
        super()._remember(answer)

    async def allocate(self, command: Allocate, timeout_s: float | None = None) -> Allocated:
        """See `EngineClient`."""
        return await self.witness.note(command, super().allocate(command, timeout_s))

    async def release(self, command: Release, timeout_s: float | None = None) -> Released:
        """See `EngineClient`."""
        return await self.witness.note(command, super().release(command, timeout_s))

    async def apply(self, command: AnyApply, parent: str = "") -> Applied:
        """See `EngineClient`."""
        return await self.witness.note(command, super().apply(command, parent))

    async def release_allocation(self, command: ReleaseAllocation) -> Released:
        """See `EngineClient`."""
        return await self.witness.note(command, super().release_allocation(command))
