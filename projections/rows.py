"""The rows that reads answer with. Their keys are a contract (DESIGN section 10)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ipledger.events.clock import format_time
from ipledger.events.facts import (
    Address,
    Application,
    AutoPool,
    Owner,
    ReservationSpec,
    Route,
    Selector,
    SubnetSpec,
)
from ipledger.events.types import AddressQuarantined
from ipledger.projections.allocations import Allocation
from ipledger.projections.labels import auto_labels
from ipledger.projections.pool import Pool
from ipledger.projections.ranges import size, usable


class PoolRow(msgspec.Struct, frozen=True, rename="camel"):
    """A pool with its counts of addresses.

    `free` can be allocated now; `reserved` cannot, though nobody holds it. `auto` says whom the
    engine made it for, and `labels` are then Spiderpool's for such a pool. Of `gateway` and
    `routes`, those that follow the subnet are `inherited`.
    """

    name: str
    ip_version: int
    subnet: str
    total: int
    allocated: int
    held: int
    quarantined: int
    free: int
    reserved: int
    default: bool
    disable: bool
    gateway: str
    ips: tuple[str, ...]
    exclude_ips: tuple[str, ...] = msgspec.field(name="excludeIPs")
    routes: tuple[Route, ...]
    pod_affinity: Selector | None = None
    namespace_name: tuple[str, ...] = ()
    namespace_affinity: Selector | None = None
    node_name: tuple[str, ...] = ()
    node_affinity: Selector | None = None
    multus_name: tuple[str, ...] = ()
    terminating: bool = False
    auto: AutoPool | None = None
    labels: dict[str, str] = {}
    inherited: tuple[str, ...] = ()


class SubnetRow(msgspec.Struct, frozen=True, rename="camel"):
    """A subnet: of its `total` addresses `allocated` are in pools, `free` in none."""

    name: str
    ip_version: int
    subnet: str
    total: int
    allocated: int
    free: int
    pools: tuple[str, ...]
    gateway: str
    ips: tuple[str, ...]
    exclude_ips: tuple[str, ...] = msgspec.field(name="excludeIPs")
    routes: tuple[Route, ...]


class ReservationRow(msgspec.Struct, frozen=True, rename="camel"):
    """A reservation: `total` addresses it names, `allocated` of them held in spite of it."""

    name: str
    ip_version: int
    total: int
    allocated: int
    ips: tuple[str, ...]


class ApplicationRow(msgspec.Struct, frozen=True, rename="camel"):
    """A workload that the log knows of, and the auto pools that are its own."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    replicas: int
    start: int
    annotations: dict[str, str]
    pools: tuple[str, ...]

    def fact(self) -> Application:
        """The application as events have it."""
        return Application(
            self.api_version,
            self.kind,
            self.namespace,
            self.name,
            self.uid,
            self.replicas,
            self.start,
            self.annotations,
        )


class AllocationRow(msgspec.Struct, frozen=True, rename="camel"):
    """An allocation; `position` is where it was allocated.

    `since` is when, and `bound` when its last sandbox came, '' for the one that it was allocated
    for: RFC 3339.
    """

    id: str
    namespace: str
    pod: str
    uid: str
    node: str
    sandbox: str
    interface: str
    addresses: tuple[Address, ...]
    since: str
    position: str
    network: str = ""
    routes: tuple[Route, ...] = ()
    owner: Owner | None = None
    bound: str = ""


class QuarantineRow(msgspec.Struct, frozen=True, rename="camel"):
    """A quarantined address. `pool` is '' where it is in none by now, `seen` where nobody says."""

    address: str
    pool: str
    mac: str
    node: str
    allocation: str
    seen: str
    evidence: str


def quarantine_row(event: AddressQuarantined, pool: Pool | None) -> QuarantineRow:
    """A quarantined address as a row."""
    return QuarantineRow(
        address=event.address,
        pool=pool.spec.name if pool else "",
        mac=event.mac,
        node=event.node,
        allocation=event.allocation,
        seen=format_time(event.seen) if event.seen else "",
        evidence=event.evidence,
    )


def pool_row(pool: Pool, quarantined: int) -> PoolRow:
    """A pool as a row, with so many of its addresses quarantined and held by nobody."""
    spec = pool.spec
    return PoolRow(
        name=spec.name,
        ip_version=spec.ip_version,
        subnet=spec.subnet,
        total=pool.total,
        allocated=len(pool.taken) - pool.held,
        held=pool.held,
        quarantined=quarantined,
        free=pool.free,
        reserved=pool.reserved_free - quarantined,
        default=spec.default,
        disable=spec.disable,
        gateway=spec.gateway,
        ips=spec.ips,
        exclude_ips=spec.exclude_ips,
        routes=spec.routes,
        pod_affinity=spec.pod_affinity,
        namespace_name=spec.namespace_name,
        namespace_affinity=spec.namespace_affinity,
        node_name=spec.node_name,
        node_affinity=spec.node_affinity,
        multus_name=spec.multus_name,
        terminating=pool.terminating,
        auto=spec.auto,
        labels=auto_labels(spec),
        inherited=spec.inherited,
    )


def subnet_row(spec: SubnetSpec, pools: Sequence[Pool]) -> SubnetRow:
    """A subnet as a row; `pools` are those of its prefix."""
    total = size(usable(spec))
    allocated = sum(pool.total for pool in pools)
    return SubnetRow(
        name=spec.name,
        ip_version=spec.ip_version,
        subnet=spec.subnet,
        total=total,
        allocated=allocated,
        free=total - allocated,
        pools=tuple(pool.spec.name for pool in pools),
        gateway=spec.gateway,
        ips=spec.ips,
        exclude_ips=spec.exclude_ips,
        routes=spec.routes,
    )


def reservation_row(spec: ReservationSpec, total: int, allocated: int) -> ReservationRow:
    """A reservation as a row."""
    return ReservationRow(spec.name, spec.ip_version, total, allocated, spec.ips)


def application_row(application: Application, pools: Sequence[str]) -> ApplicationRow:
    """An application as a row."""
    return ApplicationRow(
        application.api_version,
        application.kind,
        application.namespace,
        application.name,
        application.uid,
        application.replicas,
        application.start,
        application.annotations,
        tuple(pools),
    )


def allocation_row(allocation: Allocation) -> AllocationRow:
    """An allocation as a row."""
    return AllocationRow(
        allocation.id,
        allocation.common.namespace,
        allocation.pod_name,
        allocation.pod_uid,
        allocation.node,
        allocation.sandbox,
        allocation.interface,
        tuple([held.fact() for held in allocation.addresses]),
        format_time(allocation.since),
        str(allocation.position),
        allocation.network,
        allocation.routes,
        allocation.owner,
        "" if allocation.bound == allocation.since else format_time(allocation.bound),
    )
