"""The rows of what a state holds: `rows`, made from the objects of a projection."""

from __future__ import annotations

from collections.abc import Sequence

from ipledger.events.clock import format_time
from ipledger.events.facts import Application, ReservationSpec, SubnetSpec
from ipledger.events.types import AddressQuarantined
from ipledger.projections.allocations import Allocation
from ipledger.projections.labels import auto_labels
from ipledger.projections.pool import Pool
from ipledger.projections.ranges import size, usable
from ipledger.projections.rows import (
    AllocationRow,
    ApplicationRow,
    PoolRow,
    QuarantineRow,
    ReservationRow,
    SubnetRow,
)


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
