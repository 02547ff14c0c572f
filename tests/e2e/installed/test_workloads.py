"""Every kind of workload, on two machines, with all of ipledger beside it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.cluster.kubectl import Kubectl
from support.cluster.manifests import pool, put
from support.cluster.pods import (
    POLL_S,
    TIMEOUT_S,
    Running,
    running,
    until_running,
    workload,
)
from support.cluster.site import Site
from support.program import until

FOUR = pool("four", "10.82.0.0/16", "10.82.1.1-10.82.1.60")
SIX = pool("six", "fd82::/64", "fd82::10-fd82::50")
FROM_FOUR = json.dumps({"ipv4": ["four"]})
FROM_BOTH = json.dumps({"ipv4": ["four"], "ipv6": ["six"]})


def places(pods: list[Running]) -> dict[str, tuple[str, ...]]:
    """The addresses by the pods' names."""
    return {pod.name: pod.addresses for pod in pods}


def until_rebuilt(kubectl: Kubectl, namespace: str, before: list[Running]) -> list[Running]:
    """The pods once there are as many as before, each another one."""
    old = {pod.uid for pod in before}

    def found() -> list[Running] | None:
        pods = running(kubectl, namespace)
        fresh = len(pods) == len(before) and not old & {pod.uid for pod in pods}
        return pods if fresh and all(pod.addresses for pod in pods) else None

    return until(found, TIMEOUT_S, POLL_S)


@pytest.fixture
def cart(kubectl: Kubectl, installed: Site, namespace: str) -> list[Running]:
    """The pods of a StatefulSet of three."""
    put(kubectl, FOUR)
    kubectl.apply(workload("StatefulSet", namespace, "cart", 3, ippool=FROM_FOUR))
    return until_running(kubectl, namespace, 3)


def test_a_stateful_set_whose_pods_are_deleted_has_the_same_addresses(
    kubectl: Kubectl, namespace: str, cart: list[Running]
) -> None:
    kubectl("delete", "pods", "-n", namespace, "--all")
    assert places(until_rebuilt(kubectl, namespace, cart)) == places(cart)


def test_a_pod_of_a_stateful_set_takes_its_address_to_the_other_machine(
    kubectl: Kubectl, namespace: str, cart: list[Running]
) -> None:
    moved = cart[0]
    kubectl("cordon", moved.node)
    try:
        kubectl("delete", "pod", "-n", namespace, moved.name)
        kubectl("wait", "--for=condition=Ready", f"pod/{moved.name}", "-n", namespace)
        pods = until_running(kubectl, namespace, 3)
    finally:
        kubectl("uncordon", moved.node)
    assert pods[0].node != moved.node
    assert places(pods) == places(cart)


def test_a_stateful_set_that_is_made_smaller_lets_go_and_made_larger_takes_again(
    kubectl: Kubectl, installed: Site, namespace: str, cart: list[Running]
) -> None:
    kubectl("scale", "-n", namespace, "statefulset/cart", "--replicas=1")
    until(lambda: installed.pools()["four"].free == 59, TIMEOUT_S, POLL_S)
    assert places(until_running(kubectl, namespace, 1)) == places(cart[:1])

    kubectl("scale", "-n", namespace, "statefulset/cart", "--replicas=3")
    pods = until_running(kubectl, namespace, 3)
    assert len({pod.addresses for pod in pods}) == 3
    assert places(pods)["cart-0"] == cart[0].addresses


def test_a_daemon_set_has_one_address_on_each_machine(
    kubectl: Kubectl, installed: Site, namespace: str
) -> None:
    put(kubectl, FOUR)
    kubectl.apply(workload("DaemonSet", namespace, "agent", None, ippool=FROM_FOUR))
    pods = until_running(kubectl, namespace, 2)
    assert {pod.node for pod in pods} == {machine.name for machine in installed.machines}
    assert len({pod.addresses for pod in pods}) == 2


def test_a_deployment_has_both_families_or_none(
    kubectl: Kubectl, installed: Site, namespace: str
) -> None:
    put(kubectl, FOUR, SIX)
    kubectl.apply(workload("Deployment", namespace, "web", 4, ippool=FROM_BOTH))
    for pod in until_running(kubectl, namespace, 4):
        four, six = pod.addresses
        assert four.startswith("10.82.1.")
        assert six.startswith("fd82::")


def done_soon(kind: str, namespace: str) -> dict[str, Any]:
    """A Job of two pods, or a CronJob of such, which end after some seconds."""
    job = workload(kind, namespace, "sum", 2, ippool=FROM_FOUR)
    of = job["spec"]["jobTemplate"] if kind == "CronJob" else job
    of["spec"]["template"]["spec"]["containers"][0]["args"] = ["5"]
    return job


def at_its_time(kubectl: Kubectl, namespace: str) -> dict[str, Any]:
    """The Job that a CronJob makes when its time has come."""
    [found] = kubectl.get("cronjobs", "-n", namespace)
    owner = {key: found[key] for key in ("apiVersion", "kind")}
    owner |= {"name": "sum", "uid": found["metadata"]["uid"], "controller": True}
    metadata = {"namespace": namespace, "name": "sum", "ownerReferences": [owner]}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata}
    return {**job, "spec": found["spec"]["jobTemplate"]["spec"]}


@pytest.mark.parametrize("kind", ["Job", "CronJob"])
def test_a_job_that_is_done_has_given_its_addresses_back(
    kubectl: Kubectl, installed: Site, namespace: str, kind: str
) -> None:
    put(kubectl, FOUR)
    kubectl.apply(done_soon(kind, namespace))
    if kind == "CronJob":
        kubectl.apply(at_its_time(kubectl, namespace))
    until(lambda: len(installed.allocations()) == 2, TIMEOUT_S, POLL_S)
    assert {row.owner.kind for row in installed.allocations() if row.owner} == {kind}
    kubectl("wait", "-n", namespace, "job/sum", "--for=condition=Complete", "--timeout=60s")
    until(lambda: installed.allocations() == [], TIMEOUT_S, POLL_S)
    assert len(kubectl.get("pods", "-n", namespace)) == 2  # they are done, not gone
