"""What clients were answered: held against the log at the end (invariant 4)."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import NamedTuple, TypeVar

from ipledger.engine.answers import Allocated, Applied, Released
from ipledger.engine.client import EngineClient, RefusedError
from ipledger.engine.commands import Allocate, AnyApply, AnyCommand, Release, ReleaseAllocation
from ipledger.engine.refusals import Refusal

T = TypeVar("T", Allocated, Released, Applied)


class Answered(NamedTuple):
    """A command, and what a client was told: an answer or a refusal."""

    command: AnyCommand
    answer: Allocated | Released | Applied | Refusal


class Witness:
    """All that was answered in a run."""

    def __init__(self) -> None:
        self.answered: list[Answered] = []

    async def note(self, command: AnyCommand, asking: Awaitable[T]) -> T:
        """Ask, and take down the answer."""
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

    async def allocate(self, command: Allocate, timeout_s: float | None = None) -> Allocated:
        """See `EngineClient`."""
        return await self.witness.note(command, super().allocate(command, timeout_s))

    async def release(self, command: Release, timeout_s: float | None = None) -> Released:
        """See `EngineClient`."""
        return await self.witness.note(command, super().release(command, timeout_s))

    async def apply(self, command: AnyApply) -> Applied:
        """See `EngineClient`."""
        return await self.witness.note(command, super().apply(command))

    async def release_allocation(self, command: ReleaseAllocation) -> Released:
        """See `EngineClient`."""
        return await self.witness.note(command, super().release_allocation(command))
