"""Commands: what the engine can be asked to do, imperative, with all that deciding needs.

Commands come from outside, so unknown fields and values out of bounds are refused when they are
decoded. `node` is never read from a payload that came over NATS: the service fills it in from
the subject (DESIGN section 6).
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from ipledger.events.facts import (
    Address,
    Application,
    Owner,
    Pod,
    PoolSpec,
    ReservationSpec,
    Route,
    SubnetSpec,
)

ContainerId: TypeAlias = Annotated[
    str, Meta(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$", max_length=128)
]
"""A CNI container id (CNI specification, CNI_CONTAINERID)."""

Interface: TypeAlias = Annotated[
    str, Meta(pattern=r"^(?!\.{1,2}$)[^/:\s\x00-\x1f\x7f]+$", max_length=15)
]
"""A Linux interface name (dev_valid_name in the kernel; IFNAMSIZ less its NUL)."""

Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=253)]
TraceParent: TypeAlias = Annotated[
    str, Meta(pattern=r"^([0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})?$")
]
"""A W3C trace context `traceparent`, or ''."""

Replicas: TypeAlias = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""How many pods a controller wants: what Kubernetes' int32 may be."""

Slot: TypeAlias = Annotated[int, Meta(ge=-1, le=2**31 - 1)]

Micros: TypeAlias = Annotated[int, Meta(ge=0, lt=2**53)]
"""Microseconds since the Unix epoch, 0 where nobody knows."""

IpText: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9a-fA-F.:]{2,45}$")]
"""The characters of an IP address; whether it is one is for `decide` to say."""

Mac: TypeAlias = Annotated[str, Meta(pattern=r"^([0-9a-f]{2}(:[0-9a-f]{2}){5})?$")]
"""A MAC address in lower case with colons, or ''."""

_Text: TypeAlias = Annotated[str, Meta(max_length=1024)]


class Command(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    forbid_unknown_fields=True,
    omit_defaults=True,  # an older engine refuses only what is really asked for (ADR 92)
):
    """Base of all commands."""


class NodeCommand(Command, frozen=True):
    """Base of what a node's agent asks.

    The service fills in `node`, and in `received` when it came, by the engine's clock.
    """

    node: str = ""
    received: Micros = 0


class Steps(
    msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """When a node took the steps of a CNI call: all by one time of day, that at the agent.

    What was before and behind it is counted from there by a clock that nobody sets. The shim
    began, the agent heard of it, the agent sent the command.
    """

    shim: Micros = 0
    agent: Micros = 0
    sent: Micros = 0


class Conflict(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Something else answered to an address: whose answer it was (MAC), and when it came.

    `seen` is in microseconds since the Unix epoch, by the clock of the one who asked.
    """

    address: IpText
    mac: Mac = ""
    seen: Annotated[int, Meta(ge=0, le=2**62)] = 0


class Allocate(NodeCommand, frozen=True, kw_only=True):
    """Give an interface of a pod its addresses; the same ones if it has them already.

    `default_*_pools` are the pools named in the CNI configuration. `network_name` is the
    `namespace/name` of the interface's NetworkAttachmentDefinition, '' where there is none.
    `replicas` is how many pods the owner wants, None where nobody says. `auto_pools` is false where
    pools of subnets may not be asked for. `conflicts` are on addresses that the interface
    got before: they are quarantined, and it gets others.
    """

    pod: Pod
    sandbox: ContainerId
    interface: Interface
    network: _Text = ""
    default_ipv4_pools: tuple[Name, ...] = msgspec.field(default=(), name="defaultIPv4Pools")
    default_ipv6_pools: tuple[Name, ...] = msgspec.field(default=(), name="defaultIPv6Pools")
    clean_gateway: bool = False
    owner: Owner | None = None
    replicas: Replicas | None = None
    auto_pools: bool = True
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    namespace_labels: dict[str, str] = {}
    namespace_annotations: dict[str, str] = {}
    node_labels: dict[str, str] = {}
    network_name: _Text = ""
    traceparent: TraceParent = ""
    steps: Steps = Steps()
    conflicts: Annotated[tuple[Conflict, ...], Meta(max_length=8)] = ()


class Release(NodeCommand, frozen=True, kw_only=True):
    """A CNI DEL: the attachment is over. Frees only what this very sandbox holds.

    `fence` is set when an ADD for the attachment may still be on its way: then it is recorded,
    so that the ADD is refused when it comes. `ended_pod` is the UID of the attachment's pod where
    the pod is known to need no address any more: then what was imported for it is meant too, of
    which nobody knows the sandbox (ADR 63).
    """

    sandbox: ContainerId
    interface: Interface
    fence: bool = True
    ended_pod: _Text = ""
    traceparent: TraceParent = ""
    steps: Steps = Steps()


class Attachment(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A sandbox and an interface of it, as a runtime lists them."""

    sandbox: _Text
    interface: _Text


class RetainAttachments(NodeCommand, frozen=True, kw_only=True):
    """A CNI GC: of its attachments to a network, a node has only the ones listed.

    All others are released, except those that are too young to be on a list that was made before
    the command came.
    """

    network: _Text
    attachments: tuple[Attachment, ...]
    traceparent: TraceParent = ""
    steps: Steps = Steps()


class Confirm(NodeCommand, frozen=True):
    """Nothing: the answer says that commands of this node reach an engine that leads."""


class ReleaseAllocation(Command, frozen=True):
    """Free an allocation by name, if it is still what the releaser saw (idea 5).

    `uid` is of its pod, `sandbox` is '' where it is held; None is not compared. The collector must
    name both, and frees nothing whose place is there for another pod.
    """

    allocation: Name
    uid: str | None = None
    sandbox: str | None = None
    reason: Literal["operator", "gc"] = "operator"
    evidence: _Text = ""
    traceparent: TraceParent = ""


class ImportAllocation(Command, frozen=True):
    """Take over what another system has given to an interface of a pod.

    `source` says which of its records told of it. `held` is set where there is no pod just now,
    and the addresses are kept for the next one in its place. `slot` is as in `AddressesAllocated`,
    `routes` are the pod's own, beside those of the pools.
    """

    pod: Pod
    node: Name
    interface: Interface
    addresses: tuple[Address, ...]
    source: _Text
    held: bool = False
    network: _Text = ""
    owner: Owner | None = None
    slot: Slot = -1
    clean_gateway: bool = False
    routes: tuple[Route, ...] = ()
    traceparent: TraceParent = ""


class ImportAutoPool(Command, frozen=True):
    """Take over a pool that another system has made for an application.

    `pool.auto` says for whom. `application` is that one as it is now; without it, the pool is one
    that is kept for the next application of that name. A pool that was taken over already is only
    opened or closed (`pool.disable`).
    """

    pool: PoolSpec
    application: Application | None = None


class QuarantineAddress(Command, frozen=True):
    """Give an address of a pool to nobody until it is restored; whoever holds it keeps it."""

    address: IpText
    mac: Mac = ""
    evidence: _Text = ""


class RestoreAddress(Command, frozen=True):
    """An address that was quarantined can be given out again."""

    address: IpText
    evidence: _Text = ""


class ApplyPool(Command, frozen=True, tag=True):
    """Make a pool be like this: create it, change it, or find it so already.

    An `ip_version` of 0 in the specification means: derive it from the subnet. `reclaim` changes
    whether an auto pool goes with its application; of other pools it says nothing.
    """

    pool: PoolSpec
    reclaim: bool | None = None


class DeletePool(Command, frozen=True, tag=True):
    """Delete a pool that holds no address.

    With `when_empty`, a pool in use gives out nothing any more, and goes with its last address.
    """

    name: Name
    when_empty: bool = False


class ApplySubnet(Command, frozen=True, tag=True):
    """Make a subnet be like this: create it, change it, or find it so already."""

    subnet: SubnetSpec


class DeleteSubnet(Command, frozen=True, tag=True):
    """Delete a subnet that has no pools."""

    name: Name


class ApplyReservation(Command, frozen=True, tag=True):
    """Make a reservation be like this: create it, change it, or find it so already.

    An `ip_version` of 0 in the specification means: derive it from the first address.
    """

    reservation: ReservationSpec


class DeleteReservation(Command, frozen=True, tag=True):
    """Delete a reservation; its addresses can be given out again."""

    name: Name


class ApplyApplication(Command, frozen=True, tag=True):
    """A workload whose pods keep their addresses, or have auto pools, is like this now."""

    application: Application


class DeleteApplication(Command, frozen=True):
    """A workload is gone; with `uid`, only if it is still known with that one."""

    api_version: Name
    kind: Name
    namespace: str
    name: Name
    uid: str = ""


class SignCheckpoint(Command, frozen=True):
    """Sign a checkpoint of everything acknowledged. The commit loop does it; nothing is decided."""


AnyApply: TypeAlias = ApplyPool | ApplySubnet | ApplyReservation | ApplyApplication
"""A command that a manifest stands for."""

AnyChange: TypeAlias = AnyApply | DeletePool | DeleteSubnet | DeleteReservation
"""A command about a resource whose outcome can be foretold."""

AnyCommand: TypeAlias = (
    Allocate
    | Release
    | RetainAttachments
    | Confirm
    | ReleaseAllocation
    | ImportAllocation
    | ImportAutoPool
    | ApplyPool
    | DeletePool
    | ApplySubnet
    | DeleteSubnet
    | ApplyReservation
    | DeleteReservation
    | ApplyApplication
    | DeleteApplication
    | QuarantineAddress
    | RestoreAddress
)
