"""Manifests of Spiderpool's kinds, as a platform engineer writes them."""

from __future__ import annotations

from typing import Any

from support.cluster.kubectl import Kubectl

POOLS, SUBNETS, RESERVATIONS = "spiderippools", "spidersubnets", "spiderreservedips"

_API_VERSION = "spiderpool.spidernet.io/v2beta1"


def put(kubectl: Kubectl, *manifests: dict[str, Any]) -> None:
    """Apply these, and wait until each is accepted."""
    kubectl.apply(*manifests)
    for one in manifests:
        what = f"{one['kind'].lower()}/{one['metadata']['name']}"
        kubectl("wait", "--for=condition=Accepted", what, "--timeout=30s")


def pool(name: str, subnet: str, *ips: str, **spec: Any) -> dict[str, Any]:
    """A SpiderIPPool of these ranges."""
    return _manifest("SpiderIPPool", name, {"subnet": subnet, "ips": list(ips), **spec})


def subnet(name: str, prefix: str, *ips: str, **spec: Any) -> dict[str, Any]:
    """A SpiderSubnet of these ranges."""
    return _manifest("SpiderSubnet", name, {"subnet": prefix, "ips": list(ips), **spec})


def reservation(name: str, *ips: str) -> dict[str, Any]:
    """A SpiderReservedIP of these ranges."""
    return _manifest("SpiderReservedIP", name, {"ips": list(ips)})


def _manifest(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": _API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
