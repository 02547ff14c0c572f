"""The shapes of Spiderpool's resources (v2beta1) and of workloads, and what they stand for.

A document has been checked for its kind before it comes here. What does not fit a shape is a
`msgspec.ValidationError`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import msgspec

from ipledger.events.facts import (
    Application,
    PoolSpec,
    Requirement,
    ReservationSpec,
    Route,
    Selector,
    SubnetSpec,
)

API_VERSION = "spiderpool.spidernet.io/v2beta1"
APPS = "apps/v1"
KUBEVIRT = "kubevirt.io/v1"
POOL_KIND = "SpiderIPPool"
SUBNET_KIND = "SpiderSubnet"
RESERVATION_KIND = "SpiderReservedIP"
REUSE_HOLD = "ipledger.io/reuse-hold"

Spec: TypeAlias = PoolSpec | SubnetSpec | ReservationSpec | Application

_NUMBER = r"[0-9]+(\.[0-9]+)?"
_DURATION = re.compile(rf"{_NUMBER}|({_NUMBER}(ms|s|m|h))+")


class FieldError(Exception):
    """A field that has the right type and a value that is no good; the text says why."""

    def __init__(self, field: str, what: str) -> None:
        super().__init__(what)
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


class _Ordinals(msgspec.Struct, frozen=True):
    start: int = 0


class _StatefulSetFields(msgspec.Struct, frozen=True):
    replicas: int = 1
    ordinals: _Ordinals = _Ordinals()


class _WorkloadMetadata(msgspec.Struct):
    name: str
    namespace: str = "default"
    uid: str = ""


class _StatefulSet(msgspec.Struct):
    """Of a workload only what fixed addresses need is read; the rest is the cluster's."""

    metadata: _WorkloadMetadata
    spec: _StatefulSetFields = _StatefulSetFields()


class _Machine(msgspec.Struct):
    metadata: _WorkloadMetadata


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


def _pool(resource: object) -> PoolSpec:
    """A pool. Raises `FieldError` for an annotation of ours that cannot be read.

    The reuse hold is kept by the order of release alone (`projections.pool`), so that its
    length has no place in the specification.
    """
    read = msgspec.convert(resource, _Pool)
    annotations = read.metadata.annotations or {}
    hold = annotations.get(REUSE_HOLD, "0")
    if isinstance(hold, bool) or not _DURATION.fullmatch(str(hold)):
        what = f"{hold!r} is not a number of seconds or a duration such as 30s or 1m30s"
        raise FieldError("metadata.annotations", f"annotation {REUSE_HOLD}: {what}")
    fields = read.spec
    return PoolSpec(
        name=_name(read),
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


def _subnet(resource: object) -> SubnetSpec:
    read = msgspec.convert(resource, _Subnet)
    fields = read.spec
    return SubnetSpec(
        name=_name(read),
        ip_version=fields.ip_version,
        subnet=fields.subnet,
        ips=fields.ips,
        exclude_ips=fields.exclude_ips,
        gateway=fields.gateway,
        routes=tuple(Route(route.dst, route.gw) for route in fields.routes),
    )


def _reservation(resource: object) -> ReservationSpec:
    read = msgspec.convert(resource, _Reservation)
    return ReservationSpec(_name(read), read.spec.ip_version, read.spec.ips)


def _stateful_set(resource: object) -> Application:
    read = msgspec.convert(resource, _StatefulSet)
    of, spec = read.metadata, read.spec
    return Application(
        APPS, "StatefulSet", of.namespace, of.name, of.uid, spec.replicas, spec.ordinals.start
    )


def _machine(resource: object) -> Application:
    of = msgspec.convert(resource, _Machine).metadata
    return Application(KUBEVIRT, "VirtualMachine", of.namespace, of.name, of.uid)


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
    """The apiVersion of a kind, and what makes a specification of a resource of it."""

    api_version: str
    read: Callable[[object], Spec]


READERS: dict[str, Reader] = {
    POOL_KIND: Reader(API_VERSION, _pool),
    SUBNET_KIND: Reader(API_VERSION, _subnet),
    RESERVATION_KIND: Reader(API_VERSION, _reservation),
    "StatefulSet": Reader(APPS, _stateful_set),
    "VirtualMachine": Reader(KUBEVIRT, _machine),
}
"""The kinds that are read."""
