"""What the log says of a pod, in the words of Spiderpool's SpiderEndpoint. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ipledger.events.position import Position
from ipledger.kube.auto_objects import MADE, made_at
from ipledger.kube.objects import FINALIZER
from ipledger.projections.allocations import Allocation
from ipledger.projections.cluster.spiderpool import EndpointStatus, SpiderEndpoint
from ipledger.projections.state import State

_DEFAULT_ROUTES = ("0.0.0.0/0", "::/0")
"""The gateways say these."""


def endpoint_status(state: State, held: Sequence[Allocation]) -> dict[str, Any]:
    """`status` of the endpoint of a pod with these allocations, in the order of their interfaces.

    The pod of one that is held for the next in its place is the one that had it last.
    """
    last, owner = held[-1], held[-1].owner
    of_pod = sorted(held, key=lambda allocation: allocation.interface)
    return {
        "current": {
            "uid": last.pod_uid,
            "node": last.node,
            "ips": [_interface(state, allocation) for allocation in of_pod],
        },
        "ownerControllerType": owner.kind if owner else "Pod",
        "ownerControllerName": owner.name if owner else last.pod_name,
    }


def _interface(state: State, allocation: Allocation) -> dict[str, Any]:
    shown: dict[str, Any] = {"interface": allocation.interface, "vlan": 0, "cleanGateway": False}
    for held in allocation.addresses:
        address, family = held.fact(), f"ipv{held.terms.ip_version}"
        shown |= {family: address.address, f"{family}Pool": address.pool}
        if address.gateway:
            shown[f"{family}Gateway"] = address.gateway
        pool = state.pools.get(address.pool)
        if pool is not None and pool.spec.gateway and not address.gateway:
            shown["cleanGateway"] = True
    routes = [route for route in allocation.routes if route.dst not in _DEFAULT_ROUTES]
    if routes:
        shown["routes"] = msgspec.to_builtins(routes)
    return shown


def endpoint_body(key: tuple[str, str], status: dict[str, Any], at: Position) -> dict[str, Any]:
    """The object of a pod. `at` is where in the log the pod was seen."""
    namespace, name = key
    metadata = {"name": name, "namespace": namespace, "annotations": {MADE: str(at)}}
    return {"metadata": metadata, "status": status}


def endpoint_changes(
    status: dict[str, Any], found: SpiderEndpoint, at: Position
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """What of an object and its metadata is not as the log has it, None if all is.

    One that Spiderpool wrote is ours from here on, and its finalizer goes: nobody waits for it.
    """
    is_ours = made_at(found) is not None and FINALIZER not in found.metadata.finalizers
    if is_ours and msgspec.convert(status, EndpointStatus) == found.status:
        return None
    others = [one for one in found.metadata.finalizers if one != FINALIZER]
    return {"status": status}, {"annotations": {MADE: str(at)}, "finalizers": others}
