"""The shapes of Spiderpool's resources (v2beta1), what they stand for, and every kind that is read.

A document has been checked for its kind before it comes here. What does not fit a shape is a
`msgspec.ValidationError`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from ipledger.engine.commands import AnyApply, ApplyPool, ApplyReservation, ApplySubnet
from ipledger.events.facts import (
    PoolSpec,
    Requirement,
    ReservationSpec,
    Route,
    Selector,
    SubnetSpec,
)
from ipledger.events.quoting import cut, quote
from ipledger.kube import workloads

API_VERSION = "spiderpool.spidernet.io/v2beta1"
APPS = "apps/v1"
BATCH = "batch/v1"
KUBEVIRT = "kubevirt.io/v1"
POOL_KIND = "SpiderIPPool"
SUBNET_KIND = "SpiderSubnet"
RESERVATION_KIND = "SpiderReservedIP"
REUSE_HOLD = "ipledger.io/reuse-hold"

RECLAIM = "ipam.spidernet.io/ippool-reclaim"

_BOOLEANS = {"true": True, "false": False}
_NUMBER = r"[0-9]+(\.[0-9]+)?"
_DURATION = re.compile(rf"{_NUMBER}|({_NUMBER}(ms|s|m|h))+")


class FieldError(Exception):
    """A field that has the right type and a value that is no good; the text says why."""

    def __init__(self, field: str, what: str) -> None:
        super().__init__(cut(what))
        self.field = field


class _Shape(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Base of what is refused when it has a field that is not known."""


class _Route(_Shape):
    dst: str
    gw: str


class _Requirement(_Shape):
    key: str
    operator: str
    values: tuple[str, ...] | None = None


class _Selector(_Shape):
    match_labels: dict[str, str] | None = None
    match_expressions: tuple[_Requirement, ...] | None = None


class _SubnetFields(_Shape):
    ip_version: int = 0
    subnet: str = ""
    ips: tuple[str, ...] = ()
    exclude_ips: tuple[str, ...] = msgspec.field(default=(), name="excludeIPs")
    gateway: str = ""
    routes: tuple[_Route, ...] = ()


class _PoolFields(_SubnetFields):
    default: bool = False
    disable: bool = False
    pod_affinity: _Selector | None = None
    namespace_name: tuple[str, ...] = ()
    namespace_affinity: _Selector | None = None
    node_name: tuple[str, ...] = ()
    node_affinity: _Selector | None = None
    multus_name: tuple[str, ...] = ()


class _ReservationFields(_Shape):
    ip_version: int = 0
    ips: tuple[str, ...] = ()


class _Metadata(msgspec.Struct):
    name: str
    annotations: dict[str, Any] | None = None
    labels: dict[str, Any] | None = None


class _Resource(_Shape):
    api_version: str
    kind: str
    metadata: _Metadata
    status: object = None


class _Pool(_Resource, kw_only=True):
    spec: _PoolFields


class _Subnet(_Resource, kw_only=True):
    spec: _SubnetFields


class _Reservation(_Resource, kw_only=True):
    spec: _ReservationFields


def _pool(resource: object) -> ApplyPool:
    """A pool. Raises `FieldError` for an annotation of ours that cannot be read.

    The reuse hold is kept by the order of release alone (`projections.pool`), so that its
    length has no place in the specification.
    """
    read = msgspec.convert(resource, _Pool)
    annotations = read.metadata.annotations or {}
    hold = annotations.get(REUSE_HOLD, "0")
    if isinstance(hold, bool) or not _DURATION.fullmatch(str(hold)):
        what = f"{quote(hold)} is not a number of seconds or a duration such as 30s or 1m30s"
        raise FieldError("metadata.annotations", f"annotation {REUSE_HOLD}: {what}")
    return ApplyPool(pool=_pool_spec(_name(read), read.spec), reclaim=_reclaim(read.metadata))


def _reclaim(metadata: _Metadata) -> bool | None:
    """What a pool's annotation or label says of its end with its application, if it says."""
    for field, given in (("annotations", metadata.annotations), ("labels", metadata.labels)):
        text = (given or {}).get(RECLAIM)
        if text is not None:
            if str(text).lower() not in _BOOLEANS:
                what = f"{RECLAIM}: {quote(text)} is neither true nor false"
                raise FieldError(f"metadata.{field}", what)
            return _BOOLEANS[str(text).lower()]
    return None


def _pool_spec(name: str, fields: _PoolFields) -> PoolSpec:
    return PoolSpec(
        name=name,
        ip_version=fields.ip_version,
        subnet=fields.subnet,
        ips=fields.ips,
        exclude_ips=fields.exclude_ips,
        gateway=fields.gateway,
        routes=tuple(Route(route.dst, route.gw) for route in fields.routes),
        default=fields.default,
        disable=fields.disable,
        pod_affinity=_selector(fields.pod_affinity),
        namespace_name=fields.namespace_name,
        namespace_affinity=_selector(fields.namespace_affinity),
        node_name=fields.node_name,
        node_affinity=_selector(fields.node_affinity),
        multus_name=fields.multus_name,
    )


def _subnet(resource: object) -> ApplySubnet:
    read = msgspec.convert(resource, _Subnet)
    fields = read.spec
    spec = SubnetSpec(
        name=_name(read),
        ip_version=fields.ip_version,
        subnet=fields.subnet,
        ips=fields.ips,
        exclude_ips=fields.exclude_ips,
        gateway=fields.gateway,
        routes=tuple(Route(route.dst, route.gw) for route in fields.routes),
    )
    return ApplySubnet(subnet=spec)


def _reservation(resource: object) -> ApplyReservation:
    read = msgspec.convert(resource, _Reservation)
    spec = ReservationSpec(_name(read), read.spec.ip_version, read.spec.ips)
    return ApplyReservation(reservation=spec)


def _name(resource: _Resource) -> str:
    if not resource.metadata.name:
        raise FieldError("metadata.name", "metadata.name: '' is not a name")
    return resource.metadata.name


def _selector(selector: _Selector | None) -> Selector | None:
    if selector is None:
        return None
    return Selector(
        selector.match_labels or {},
        tuple(
            Requirement(want.key, want.operator, want.values or ())
            for want in selector.match_expressions or ()
        ),
    )


class Reader(NamedTuple):
    """The apiVersion of a kind, and what makes a command of a resource of it."""

    api_version: str
    read: Callable[[object], AnyApply]


READERS: dict[str, Reader] = {
    POOL_KIND: Reader(API_VERSION, _pool),
    SUBNET_KIND: Reader(API_VERSION, _subnet),
    RESERVATION_KIND: Reader(API_VERSION, _reservation),
    "Deployment": Reader(APPS, workloads.replicated),
    "StatefulSet": Reader(APPS, workloads.replicated),
    "ReplicaSet": Reader(APPS, workloads.replicated),
    "DaemonSet": Reader(APPS, workloads.daemon_set),
    "Job": Reader(BATCH, workloads.job),
    "CronJob": Reader(BATCH, workloads.cron_job),
    "VirtualMachine": Reader(KUBEVIRT, workloads.machine),
}
"""The kinds that are read."""
