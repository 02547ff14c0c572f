"""Which pools serve a pod: each level that can say so, and the pools of applications."""

from __future__ import annotations

import json
from typing import Any

from support.cluster.kubectl import Kubectl
from support.cluster.manifests import POOLS, pool, put, subnet
from support.cluster.pods import (
    POLL_S,
    TIMEOUT_S,
    Running,
    deployment,
    until_running,
    wait_gone,
)
from support.cluster.site import Site
from support.program import until

LEVELS = ("of-pod", "of-namespace", "of-network", "of-cluster")


def levels() -> list[dict[str, Any]]:
    """A pool for each level; the last one is a default pool."""
    return [
        pool(name, f"10.8{5 + n}.0.0/16", f"10.8{5 + n}.1.1-10.8{5 + n}.1.9", default=n == 3)
        for n, name in enumerate(LEVELS)
    ]


def test_the_nearest_level_that_names_pools_decides(
    kubectl: Kubectl, installed: Site, namespace: str
) -> None:
    put(kubectl, *levels())
    default = "ipam.spidernet.io/default-ipv4-ippool"

    def served(**annotations: str) -> str:
        """The pool that serves a Deployment now."""
        kubectl.apply(deployment(namespace, "web", 1, **annotations))
        [pod] = until_running(kubectl, namespace, 1)
        [row] = [row for row in installed.allocations() if row.uid == pod.uid]
        kubectl("delete", "-n", namespace, "deployment/web")
        wait_gone(kubectl, namespace)
        return row.addresses[0].pool

    installed.connect(default_ipv4_ippool=["of-network"])
    try:
        kubectl("annotate", "namespace", namespace, f'{default}=["of-namespace"]')
        assert served(ippool='{"ipv4":["of-pod"]}') == "of-pod"
        assert served() == "of-namespace"
        kubectl("annotate", "namespace", namespace, f"{default}-")
        assert served() == "of-network"
    finally:
        installed.connect()
    assert served() == "of-cluster"


def auto_pool(kubectl: Kubectl) -> dict[str, Any] | None:
    """The pool of the Deployment web."""
    label = "ipam.spidernet.io/owner-application-name=web"
    return next(iter(kubectl.get(POOLS, "-l", label)), None)


def test_an_auto_pool_follows_the_size_of_its_deployment_and_goes_with_it(
    kubectl: Kubectl, installed: Site, namespace: str
) -> None:
    put(kubectl, subnet("parent", "10.84.0.0/16", "10.84.0.10-10.84.0.59"))
    kubectl.apply(deployment(namespace, "web", 2, subnet=json.dumps({"ipv4": ["parent"]})))

    def until_size(replicas: int) -> list[Running]:
        """One address more than pods, as kubectl tells it; the pods are served from it."""
        pods = until_running(kubectl, namespace, replicas)
        size = replicas + 1
        until(lambda: total(auto_pool(kubectl)) == size, TIMEOUT_S, POLL_S)
        for pod in pods:
            assert pod.addresses[0].startswith("10.84.0.")
        return pods

    first = until_size(2)
    kubectl("scale", "-n", namespace, "deployment/web", "--replicas=6")
    more = until_size(6)
    assert {pod.addresses for pod in first} <= {pod.addresses for pod in more}
    kubectl("scale", "-n", namespace, "deployment/web", "--replicas=1")
    until_size(1)

    kubectl("delete", "-n", namespace, "deployment/web")
    until(lambda: auto_pool(kubectl) is None, TIMEOUT_S, POLL_S)
    assert installed.pools() == {}


def total(found: dict[str, Any] | None) -> int:
    """How many addresses a pool's status says it has."""
    return int((found or {}).get("status", {}).get("totalIPCount", 0))
