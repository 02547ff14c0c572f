"""Spiderpool's resources as an API server has them.

Of a pool, subnet or reservation `spec` stays JSON: what it means is read by `kube`, the same way
as from a manifest. `status` is what a controller wrote there.
"""

from __future__ import annotations

import msgspec

from ipledger.projections.cluster.metadata import Object, Shape

_EMPTY = msgspec.Raw(b"{}")


class Specified(Object, frozen=True):
    """Base of what has a specification that is kept as JSON."""

    spec: msgspec.Raw = _EMPTY

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "spec", self.spec.copy())  # not the whole answer


class Condition(Shape, frozen=True, omit_defaults=True):
    """One thing that a controller says of an object. `status` is True, False or Unknown."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str = ""
    observed_generation: int = 0


class _Conditions(Shape, frozen=True):
    conditions: tuple[Condition, ...] = ()


class Resource(Specified, frozen=True):
    """A pool, subnet or reservation without its status but for the conditions.

    The rest of a status can be a megabyte, and a controller writes it and never reads it.
    """

    status: _Conditions = _Conditions()


class PoolStatus(Shape, frozen=True):
    """`status` of a SpiderIPPool. `allocated_ips` is JSON: address to pod and its UID."""

    allocated_ips: str | None = msgspec.field(default=None, name="allocatedIPs")
    total_ip_count: int | None = msgspec.field(default=None, name="totalIPCount")
    allocated_ip_count: int | None = msgspec.field(default=None, name="allocatedIPCount")


class SubnetStatus(Shape, frozen=True):
    """`status` of a SpiderSubnet. `controlled_ip_pools` is JSON: pool to its addresses."""

    controlled_ip_pools: str | None = msgspec.field(default=None, name="controlledIPPools")
    total_ip_count: int | None = msgspec.field(default=None, name="totalIPCount")
    allocated_ip_count: int | None = msgspec.field(default=None, name="allocatedIPCount")


class SpiderIPPool(Specified, frozen=True):
    """A pool."""

    status: PoolStatus = PoolStatus()


class SpiderSubnet(Specified, frozen=True):
    """A subnet."""

    status: SubnetStatus = SubnetStatus()


class SpiderReservedIP(Specified, frozen=True):
    """A reservation."""


class EndpointAddress(Shape, frozen=True):
    """One interface of an endpoint. Addresses have a prefix length."""

    interface: str = ""
    ipv4: str | None = None
    ipv6: str | None = None
    ipv4_pool: str | None = None
    ipv6_pool: str | None = None
    ipv4_gateway: str | None = None
    ipv6_gateway: str | None = None
    clean_gateway: bool | None = None


class _Current(Shape, frozen=True):
    uid: str = ""
    node: str = ""
    ips: tuple[EndpointAddress, ...] = ()


class EndpointStatus(Shape, frozen=True):
    """`status` of a SpiderEndpoint: what a pod has now, and what owns the pod."""

    current: _Current = _Current()
    owner_controller_type: str = ""
    owner_controller_name: str = ""


class SpiderEndpoint(Object, frozen=True):
    """What a pod of the same name has."""

    status: EndpointStatus = EndpointStatus()
