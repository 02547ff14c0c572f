"""Answers: what the engine says to a command or a query, each true at the position it names."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ipledger.engine.refusals import Refusal
from ipledger.events.types import CheckpointSigned
from ipledger.projections.exhaustion import Exhaustion
from ipledger.projections.rows import (
    AllocationRow,
    ApplicationRow,
    PoolRow,
    QuarantineRow,
    ReservationRow,
    SubnetRow,
)


class Answer(msgspec.Struct, frozen=True, rename="camel", tag_field="type"):
    """Base of all answers. The class name is the tag."""


class Allocated(Answer, frozen=True):
    """The interface holds these addresses, durably."""

    position: str
    allocation: AllocationRow


class Released(Answer, frozen=True):
    """What was asked to be freed is not held. `allocation` is what this command freed, or ''."""

    position: str
    allocation: str = ""


class Retained(Answer, frozen=True):
    """The node has only the attachments that it listed; `released` are the allocations freed."""

    position: str
    released: tuple[str, ...] = ()


class Applied(Answer, frozen=True):
    """The resource is as asked. `outcome` is a word of these: created, configured,
    unchanged, deleted, quarantined, restored, or terminating for a pool that goes with its last
    address."""

    position: str
    outcome: str


class Refused(Answer, frozen=True):
    """The command was turned down and changed nothing."""

    position: str
    refusal: Refusal


class TryAgain(Answer, frozen=True):
    """Not now: the engine is full, behind, or does not lead any more. Nothing is promised."""

    message: str


class Status(Answer, frozen=True):
    """How the engine that answers is, and who leads as far as it knows ('' if nobody does).

    `role` is a word of `Role`, `time` is RFC 3339, `queue` is the commands waiting.
    """

    position: str
    realm: str
    engine: str
    role: str
    leader: str
    version: str
    epoch: int
    time: str
    pools: int
    allocations: int
    queue: int


class Page(Answer, frozen=True):
    """A part of the rows of one read, all at one position. The last part says so."""

    position: str
    pools: tuple[PoolRow, ...] = ()
    subnets: tuple[SubnetRow, ...] = ()
    reservations: tuple[ReservationRow, ...] = ()
    allocations: tuple[AllocationRow, ...] = ()
    applications: tuple[ApplicationRow, ...] = ()
    quarantines: tuple[QuarantineRow, ...] = ()
    exhaustion: tuple[Exhaustion, ...] = ()
    """Of those of `pools` of which enough is known."""
    last: bool = True


class Change(msgspec.Struct, frozen=True):
    """A field of a resource that would change: its path, and its JSON value before and after."""

    field: str
    before: object = None
    after: object = None


class Forecast(msgspec.Struct, frozen=True):
    """What applying a resource would do: `outcome` as in `Applied`, or why it would be refused."""

    outcome: str = ""
    changes: tuple[Change, ...] = ()
    refusal: Refusal | None = None


class Checked(Answer, frozen=True):
    """What each command would do, in their order. Nothing was changed."""

    position: str
    forecasts: tuple[Forecast, ...]


class Checkpointed(Answer, frozen=True):
    """The newest signed checkpoint, None if none was signed yet."""

    position: str
    checkpoint: CheckpointSigned | None


AnyAnswer: TypeAlias = (
    Allocated
    | Released
    | Retained
    | Applied
    | Refused
    | TryAgain
    | Status
    | Page
    | Checked
    | Checkpointed
)
