"""Queries: what the engine can be asked (`reading` answers them)."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from ipledger.engine.commands import AnyChange, ContainerId, Interface
from ipledger.events.position import PositionText


class Query(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """Base of all queries. The answer is true at `at_least` or a newer position, '' is any."""

    at_least: PositionText = ""


class Pools(Query, frozen=True):
    """The pools by name, or the one named."""

    name: str = ""


class Subnets(Query, frozen=True):
    """The subnets by name, or the one named."""

    name: str = ""


class Reservations(Query, frozen=True):
    """The reservations by name, or the one named."""

    name: str = ""


class Quarantines(Query, frozen=True):
    """The quarantined addresses in their order, or those of a pool."""

    pool: str = ""


class Applications(Query, frozen=True):
    """The applications by kind, namespace and name; every field given must match."""

    namespace: str = ""
    name: str = ""


class Check(Query, frozen=True):
    """What these commands would do, one after another. Nothing is changed.

    Each is compared with those before it, and nobody is served meanwhile: so they are not many.
    """

    commands: Annotated[tuple[AnyChange, ...], Meta(max_length=1000)]


class AllocationsWhere(Query, frozen=True):
    """The live allocations in the order of their allocation; every field given must match.

    `reservation` asks for those that hold an address which it names.
    """

    id: str = ""
    namespace: str = ""
    pod: str = ""
    uid: str = ""
    pool: str = ""
    reservation: str = ""
    node: str = ""
    sandbox: str = ""
    interface: str = ""
    address: str = ""


class Attached(Query, frozen=True):
    """What an attachment of the asking node holds. It tells nothing of other nodes."""

    sandbox: ContainerId
    interface: Interface
    node: str = ""


class AskStatus(Query, frozen=True):
    """How the engine is."""


class AskCheckpoint(Query, frozen=True):
    """The newest signed checkpoint."""


AnyQuery: TypeAlias = (
    Pools
    | Subnets
    | Reservations
    | Quarantines
    | Applications
    | AllocationsWhere
    | AskStatus
    | AskCheckpoint
    | Check
)
