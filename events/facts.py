"""The values that events are made of: frozen facts, as text, exactly as they are stored.

JSON keys are camelCase (Kubernetes' spelling). Fields with a default are left out of the
stored form when they hold it, so a field added later costs old events nothing.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

Int64: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""JSON's integers have no end; those of snapshots (MessagePack) and histories (SQLite) have one."""


class Fact(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """Base of all stored values: frozen, hashable, camelCase in JSON."""


class Route(Fact, frozen=True):
    """A route of an interface: destination prefix and next hop, as CNI writes them."""

    dst: str
    gw: str


class Requirement(Fact, frozen=True):
    """One expression of a label selector. `operator` is In, NotIn, Exists or DoesNotExist."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


class Selector(Fact, frozen=True):
    """A Kubernetes label selector: every label and every expression must match."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[Requirement, ...] = ()


class AddressSpace(Fact, frozen=True):
    """What pools and subnets have in common: addresses of one prefix, and the ways out of it.

    `ips` and `exclude_ips` hold single addresses or inclusive ranges `a-b`. The addresses are
    `ips` minus `exclude_ips`.
    """

    name: str
    ip_version: Int64
    subnet: str
    ips: tuple[str, ...] = ()
    exclude_ips: tuple[str, ...] = msgspec.field(default=(), name="excludeIPs")
    gateway: str = ""
    routes: tuple[Route, ...] = ()


class SubnetSpec(AddressSpace, frozen=True):
    """A parent of pools, in Spiderpool's words (SpiderSubnet.spec plus its name).

    The pools of its prefix take their addresses from it, and its gateway and routes where they
    have none of their own.
    """


class Owner(Fact, frozen=True):
    """The top controller of a pod: a Deployment rather than its ReplicaSet."""

    api_version: str
    kind: str
    name: str
    uid: str = ""


class AutoPool(Fact, frozen=True):
    """Whom a pool that the engine made is for: one interface of an application's pods.

    `subnet` is the name of the subnet that its addresses come from. `number` is the annotation
    `ippool-ip-number` as it was written, '' where there was none. `reclaim` says whether the pool
    goes with its application.
    """

    subnet: str
    namespace: str
    owner: Owner
    interface: str
    number: str = ""
    reclaim: bool = True


class PoolSpec(AddressSpace, frozen=True):
    """A pool as it was applied, in Spiderpool's words (SpiderIPPool.spec plus its name).

    The affinities restrict who is served; a name list takes the place of the selector beside it.
    `auto` is set where the engine made the pool for an application, which alone is served then.
    `inherited` names those of the fields `gateway` and `routes` that are its subnet's: the pool was
    asked for without them, and they follow the subnet.
    """

    default: bool = False
    disable: bool = False
    pod_affinity: Selector | None = None
    namespace_name: tuple[str, ...] = ()
    namespace_affinity: Selector | None = None
    node_name: tuple[str, ...] = ()
    node_affinity: Selector | None = None
    multus_name: tuple[str, ...] = ()
    auto: AutoPool | None = None
    inherited: tuple[str, ...] = ()


class ReservationSpec(Fact, frozen=True):
    """Addresses that are not given out, in any pool (SpiderReservedIP.spec plus its name).

    `ips` holds single addresses or inclusive ranges `a-b` of one IP version.
    """

    name: str
    ip_version: Int64
    ips: tuple[str, ...] = ()


class Pod(Fact, frozen=True):
    """The pod an allocation is for. Without Kubernetes `uid` is the CNI container id."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Application(Fact, frozen=True):
    """A workload: a controller of pods, or a virtual machine.

    It wants `replicas` pods; those of a StatefulSet have the ordinals from `start` on. Of the
    annotations of its pods those are here that ask for auto pools.
    """

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str = ""
    replicas: Int64 = 1
    start: Int64 = 0
    annotations: dict[str, str] = {}


class Address(Fact, frozen=True, omit_defaults=False):
    """One address of an allocation: its pool, `address/prefix length`, and gateway or ''."""

    pool: str
    address: str
    gateway: str = ""

    @property
    def ip(self) -> str:
        """The address without its prefix length."""
        return self.address.partition("/")[0]


class Candidate(Fact, frozen=True):
    """A pool that was considered for an allocation, and what became of it.

    `verdict` is a word of `Verdict`; `detail` says it with figures for a reader.
    """

    pool: str
    ip_version: Int64
    verdict: str
    detail: str = ""


class Verdict:
    """The words a `Candidate.verdict` may hold."""

    CHOSEN = "chosen"
    NOT_REACHED = "not-reached"
    EXHAUSTED = "exhausted"
    NO_STATIC_IP = "without-static-ip"
    DISABLED = "disabled"
    TERMINATING = "terminating"
    WRONG_IP_VERSION = "wrong-ip-version"
    NODE_MISMATCH = "node-mismatch"
    NAMESPACE_MISMATCH = "namespace-mismatch"
    POD_MISMATCH = "pod-mismatch"
    NETWORK_MISMATCH = "network-mismatch"
