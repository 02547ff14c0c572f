"""The events: past tense, facts only, one frozen Struct each.

The class name is the tag in the log (`"type"`), so a class is never renamed and its fields
never change meaning (DESIGN section 5): an additive field gets a default; a breaking change is
a new class and an upcast at the read edge. `ALL` is every event ever released.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ipledger.events.facts import (
    Address,
    Application,
    Candidate,
    Int64,
    Owner,
    Pod,
    PoolSpec,
    ReservationSpec,
    Route,
    SubnetSpec,
)


class Event(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    tag_field="type",
    omit_defaults=True,
    gc=False,
):
    """Base of all events."""


class LeadershipTaken(Event, frozen=True):
    """An engine began to append. Epochs rise by one; `version` is the engine's release."""

    epoch: Int64
    engine: str
    version: str


class PoolCreated(Event, frozen=True):
    """A pool exists from here on."""

    pool: PoolSpec


class PoolUpdated(Event, frozen=True):
    """A pool has this specification from here on; addresses already held keep their terms."""

    pool: PoolSpec


class PoolDeleted(Event, frozen=True):
    """A pool is gone. It held no address."""

    name: str


class PoolTerminating(Event, frozen=True):
    """A pool gives out no address any more, and goes with the last one that it holds."""

    name: str


class SubnetCreated(Event, frozen=True):
    """Pools of this prefix belong to the subnet from here on."""

    subnet: SubnetSpec


class SubnetUpdated(Event, frozen=True):
    """A subnet has this specification from here on; a `PoolUpdated` tells which pools follow."""

    subnet: SubnetSpec


class SubnetDeleted(Event, frozen=True):
    """A subnet is gone. It had no pools."""

    name: str


class ReservationCreated(Event, frozen=True):
    """The addresses of a reservation are not given out from here on; who holds one keeps it."""

    reservation: ReservationSpec


class ReservationUpdated(Event, frozen=True):
    """A reservation names these addresses from here on, and no others."""

    reservation: ReservationSpec


class ReservationDeleted(Event, frozen=True):
    """A reservation is gone; what it alone kept can be given out again."""

    name: str


class Step:
    """The words that a key of an event's `steps` may be, in their order."""

    SHIM = "shim"
    """The CNI plugin began."""
    AGENT = "agent"
    """The node's agent was asked."""
    SENT = "sent"
    """The agent sent its command, for the first time."""
    RECEIVED = "received"
    """An engine that led had the command."""
    ENGINE = "engine"
    """It was decided; it has the commit's time."""


class AddressesAllocated(Event, frozen=True):
    """An interface of a pod holds these addresses from here on, all or none.

    `slot` is the item of an `ippools` annotation without interfaces that was claimed, or -1.
    `steps` maps the name of a step that came before (of `Step`) to its time in microseconds since
    the Unix epoch, by the clock of the machine that took it.
    """

    allocation: str
    pod: Pod
    node: str
    sandbox: str
    interface: str
    addresses: tuple[Address, ...]
    network: str = ""
    owner: Owner | None = None
    slot: Int64 = -1
    routes: tuple[Route, ...] = ()
    decision: tuple[Candidate, ...] = ()
    traceparent: str = ""
    steps: dict[str, Int64] = {}


class AllocationImported(Event, frozen=True):
    """An interface of a pod holds these addresses, which another system gave to it before.

    `source` says which record of that system told of it. Nobody knows the container id of its
    sandbox, so `sandbox` is `pod:` and the pod's UID, which no container id can be (ADR 63); it is
    empty where the addresses are held for the next pod in the same place. An address may be
    reserved. The other fields are those of `AddressesAllocated`.
    """

    allocation: str
    pod: Pod
    node: str
    interface: str
    addresses: tuple[Address, ...]
    source: str
    sandbox: str = ""
    network: str = ""
    owner: Owner | None = None
    slot: Int64 = -1
    routes: tuple[Route, ...] = ()
    traceparent: str = ""


class AllocationRebound(Event, frozen=True):
    """Addresses go on to a new sandbox; the old sandbox is over.

    `pod` and `node` are set where another pod takes the place of the one before.
    """

    allocation: str
    sandbox: str
    pod: Pod | None = None
    node: str = ""
    traceparent: str = ""
    steps: dict[str, int] = {}


class AddressesHeld(Event, frozen=True):
    """The sandbox is over, and its addresses are kept for the next pod in the same place."""

    allocation: str
    sandbox: str
    traceparent: str = ""
    steps: dict[str, int] = {}


class AddressesReleased(Event, frozen=True):
    """All addresses of an allocation are free again.

    `reason` is a word of `ReleaseReason`; `evidence` is what the releaser saw, for an auditor.
    """

    allocation: str
    sandbox: str
    reason: str
    evidence: str = ""
    traceparent: str = ""
    steps: dict[str, int] = {}


class AddressQuarantined(Event, frozen=True):
    """Something else answers to an address: from here on it is not given out until it is restored.

    Whoever holds it keeps it. `mac` is whose answer was seen, `seen` when, by the clock of the one
    who saw it (microseconds since the Unix epoch; 0 where nobody says), `node` where that was and
    `allocation` for whom; both are empty where an operator says so, with `evidence`.
    """

    address: str
    node: str = ""
    allocation: str = ""
    mac: str = ""
    seen: Int64 = 0
    evidence: str = ""
    traceparent: str = ""


class AddressRestored(Event, frozen=True):
    """An operator says that an address can be given out again."""

    address: str
    evidence: str = ""


class ReleaseReason:
    """The words `AddressesReleased.reason` may hold."""

    CNI_DEL = "cni-del"
    CNI_GC = "cni-gc"
    GC = "gc"
    OPERATOR = "operator"
    SCALED_DOWN = "scaled-down"
    APPLICATION_DELETED = "application-deleted"
    POOL_CHANGED = "pool-changed"
    CONFLICT = "conflict"
    """Something else answers to an address; the same interface has others in the next event."""


class ApplicationCreated(Event, frozen=True):
    """A workload whose pods keep their addresses, or have pools of their own, is known now."""

    application: Application


class ApplicationUpdated(Event, frozen=True):
    """A workload is like this from here on, mostly of another size."""

    application: Application


class ApplicationDeleted(Event, frozen=True):
    """A workload is gone; nothing is held for it any more."""

    api_version: str
    kind: str
    namespace: str
    name: str


class AttachmentDeleted(Event, frozen=True):
    """A CNI DEL came for an attachment that holds nothing, and its ADD may still be on its way.

    From here on an ADD for the same sandbox and interface is refused (DESIGN section 7).
    """

    sandbox: str
    interface: str
    node: str


class AllocationRefused(Event, frozen=True):
    """An interface of a pod got no address, for a reason other than the last one recorded."""

    pod: Pod
    node: str
    sandbox: str
    interface: str
    reason: str
    message: str
    decision: tuple[Candidate, ...] = ()
    traceparent: str = ""
    steps: dict[str, int] = {}


class CheckpointSigned(Event, frozen=True):
    """The leader vouches for the log up to the commit before this one.

    `signature` is the base64 of an Ed25519 signature by `key` of the text that
    `events.checkpoint` makes of the other fields; `key` is a public NATS key. Whoever keeps a
    checkpoint elsewhere can later prove a history rewritten or cut.
    """

    realm: str
    sequence: Int64
    hash: str
    time: str
    key: str
    signature: str


AnyEvent: TypeAlias = (
    LeadershipTaken
    | PoolCreated
    | PoolUpdated
    | PoolDeleted
    | PoolTerminating
    | SubnetCreated
    | SubnetUpdated
    | SubnetDeleted
    | ReservationCreated
    | ReservationUpdated
    | ReservationDeleted
    | AddressesAllocated
    | AllocationImported
    | AllocationRebound
    | AddressesHeld
    | AddressesReleased
    | ApplicationCreated
    | ApplicationUpdated
    | ApplicationDeleted
    | AttachmentDeleted
    | AllocationRefused
    | AddressQuarantined
    | AddressRestored
    | CheckpointSigned
)

ALL: tuple[type[Event], ...] = (
    LeadershipTaken,
    PoolCreated,
    PoolUpdated,
    PoolDeleted,
    PoolTerminating,
    SubnetCreated,
    SubnetUpdated,
    SubnetDeleted,
    ReservationCreated,
    ReservationUpdated,
    ReservationDeleted,
    AddressesAllocated,
    AllocationImported,
    AllocationRebound,
    AddressesHeld,
    AddressesReleased,
    ApplicationCreated,
    ApplicationUpdated,
    ApplicationDeleted,
    AttachmentDeleted,
    AllocationRefused,
    AddressQuarantined,
    AddressRestored,
    CheckpointSigned,
)
