"""Refusals: every reason for which a command may be turned down, one per rule."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from ipledger.events.facts import Candidate
from ipledger.events.quoting import QUOTE_MAX, cut, quote


class Reason(StrEnum):
    """Why a command was refused. Mapped to CNI error codes in `cni.errors`."""

    BAD_REQUEST = "BadRequest"
    """The command cannot be read, or a field of it is out of bounds."""
    INVALID_FIELD = "InvalidField"
    """A field of a pool breaks a rule by itself."""
    FIELD_IMMUTABLE = "FieldImmutable"
    """A field that cannot change after creation would."""
    POOL_OVERLAP = "PoolOverlap"
    """The pool would share addresses or half a prefix with another (invariant 3)."""
    ADDRESS_IN_USE = "AddressInUse"
    """The change would take a held address out of its pool (invariant 3)."""
    SUBNET_OVERLAP = "SubnetOverlap"
    """The subnet would share addresses with another, or half a prefix with a pool."""
    SUBNET_UNKNOWN = "SubnetUnknown"
    """No subnet has that name."""
    SUBNET_IN_USE = "SubnetInUse"
    """The change would take addresses from the pools of the subnet, or the subnet itself."""
    OUTSIDE_SUBNET = "OutsideSubnet"
    """The pool has addresses that the subnet of its prefix does not have."""
    POOL_IN_USE = "PoolInUse"
    """The pool to be deleted still has held addresses (invariant 3)."""
    POOL_TERMINATING = "PoolTerminating"
    """The pool gives out nothing any more, and cannot be changed."""
    AUTO_POOL = "AutoPool"
    """The change is the engine's to make: it made the pool for an application."""
    SUBNET_EXHAUSTED = "SubnetExhausted"
    """The subnet has too few free addresses for an auto pool."""
    AUTO_POOLS_DISABLED = "AutoPoolsDisabled"
    """A pool of a subnet is asked for where auto pools are switched off."""
    NO_CONTROLLER = "NoController"
    """An auto pool is asked for by a pod without a controller."""
    REPLICAS_UNKNOWN = "ReplicasUnknown"
    """An auto pool's size depends on the application's replicas, which nobody told."""
    POOL_UNKNOWN = "PoolUnknown"
    """A pool is named that does not exist."""
    RESERVATION_UNKNOWN = "ReservationUnknown"
    """A reservation is named that does not exist."""
    NO_POOL_SELECTED = "NoPoolSelected"
    """No rule names a pool, and there is no default pool."""
    NO_POOL_FITS = "NoPoolFits"
    """Pools were selected, but none may serve this interface."""
    POOL_EXHAUSTED = "PoolExhausted"
    """Every pool that may serve this interface has all its addresses in use."""
    ATTACHMENT_ENDED = "AttachmentEnded"
    """A DEL for this sandbox and interface came before this ADD (DESIGN section 7)."""
    SANDBOX_TAKEN = "SandboxTaken"
    """The sandbox and interface already belong to another pod's allocation."""
    OTHER_NODE = "OtherNode"
    """The allocation belongs to another node."""
    ALLOCATION_UNKNOWN = "AllocationUnknown"
    """No live allocation has that id (invariant 7)."""
    APPLICATION_UNKNOWN = "ApplicationUnknown"
    """No application of that kind and name is known."""
    APPLICATION_CHANGED = "ApplicationChanged"
    """The application has another UID than the one whose end was seen (idea 5)."""
    POD_CHANGED = "PodChanged"
    """The allocation belongs to another pod than the one the releaser saw (idea 5)."""
    ADDRESS_OUTSIDE_POOL = "AddressOutsidePool"
    """An address to be imported is not one of its pool's (invariant 2)."""
    ALREADY_ALLOCATED = "AlreadyAllocated"
    """What is to be imported has other addresses already, or its place has (invariant 8)."""
    PLACE_UNKNOWN = "PlaceUnknown"
    """Addresses are to be held for a place that does not exist."""
    SANDBOX_CHANGED = "SandboxChanged"
    """The allocation has gone on to another sandbox than the one the releaser saw (idea 5)."""
    PLACE_EXISTS = "PlaceExists"
    """The collector would free what is kept for the next pod in its place."""


class Refusal(msgspec.Struct, frozen=True):
    """A refusal: its reason, a sentence for a person, and the field and value at fault.

    It goes into the log and over the network, so all of its texts are cut to a bounded length:
    what is wrong may be as long as a message.
    """

    reason: Reason
    message: str
    field: str = ""
    value: str = ""
    decision: tuple[Candidate, ...] = ()

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "message", cut(self.message))
        msgspec.structs.force_setattr(self, "field", cut(self.field, QUOTE_MAX))
        msgspec.structs.force_setattr(self, "value", cut(self.value, QUOTE_MAX))


def invalid(field: str, value: object, what: str) -> Refusal:
    """A refusal of a field that breaks a rule by itself; names field and value."""
    return Refusal(Reason.INVALID_FIELD, f"{field}: {quote(value)} {what}", field, str(value))


def describe(candidate: Candidate) -> str:
    """A pool's verdict as a phrase: `pool a is exhausted (4 of 4 addresses in use)`."""
    detail = f" ({candidate.detail})" if candidate.detail else ""
    return f"pool {candidate.pool} is {candidate.verdict}{detail}"
