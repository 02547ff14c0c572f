"""Pools, subnets and reservations by kubectl, and what kubectl then prints of them."""

from __future__ import annotations

import json

from support.cluster.kubectl import Kubectl
from support.cluster.manifests import POOLS, pool, put, reservation, subnet
from support.cluster.pods import POLL_S, TIMEOUT_S, deployment, until_running
from support.cluster.site import Site, bare
from support.program import until

BLUE = pool("blue", "10.80.0.0/16", "10.80.1.1-10.80.1.20", ipVersion=4)
FROM_BLUE = json.dumps({"ipv4": ["blue"]})


def row(kubectl: Kubectl, kind: str, name: str) -> dict[str, str]:
    """An object as `kubectl get` prints it, by column."""
    header, line = (line.split() for line in kubectl("get", kind, name).splitlines())
    return dict(zip(header, line, strict=True))


def test_a_pool_is_printed_with_its_counts_and_tells_who_holds_what(
    kubectl: Kubectl, installed: Site, namespace: str
) -> None:
    put(kubectl, BLUE)
    assert row(kubectl, POOLS, "blue") == {
        "NAME": "blue",
        "VERSION": "4",
        "SUBNET": "10.80.0.0/16",
        "ALLOCATED-IP-COUNT": "0",
        "TOTAL-IP-COUNT": "20",
        "DEFAULT": "false",
    }

    kubectl.apply(deployment(namespace, "web", 3, ippool=FROM_BLUE))
    pods = until_running(kubectl, namespace, 3)
    until(lambda: row(kubectl, POOLS, "blue")["ALLOCATED-IP-COUNT"] == "3", 30, POLL_S)
    told = json.loads(kubectl("get", POOLS, "blue", "-o", "jsonpath={.status.allocatedIPs}"))
    assert told == {
        pod.addresses[0]: {"pod": f"{namespace}/{pod.name}", "podUid": pod.uid} for pod in pods
    }
    assert sorted(told) == sorted(ip for one in installed.allocations() for ip in bare(one))

    kubectl("scale", "-n", namespace, "deployment/web", "--replicas=0")
    until(lambda: row(kubectl, POOLS, "blue")["ALLOCATED-IP-COUNT"] == "0", TIMEOUT_S, POLL_S)


def test_a_change_of_a_pool_is_a_change_of_the_log(kubectl: Kubectl, installed: Site) -> None:
    put(kubectl, BLUE)
    more = ["10.80.1.1-10.80.1.20", "10.80.2.1-10.80.2.5"]
    kubectl("patch", POOLS, "blue", "--type=merge", "-p", json.dumps({"spec": {"ips": more}}))
    until(lambda: installed.pools()["blue"].total == 25, 30, POLL_S)
    until(lambda: row(kubectl, POOLS, "blue")["TOTAL-IP-COUNT"] == "25", 30, POLL_S)


def test_a_subnet_is_printed_with_what_its_pools_have(kubectl: Kubectl, installed: Site) -> None:
    put(kubectl, subnet("parent", "10.80.0.0/16", "10.80.0.10-10.80.0.39", ipVersion=4))
    put(kubectl, pool("part", "10.80.0.0/16", "10.80.0.10-10.80.0.14"))
    until(lambda: row(kubectl, "ss", "parent")["ALLOCATED-IP-COUNT"] == "5", 30, POLL_S)
    assert row(kubectl, "ss", "parent")["TOTAL-IP-COUNT"] == "30"
    told = kubectl("get", "ss", "parent", "-o", "jsonpath={.status.controlledIPPools}")
    assert json.loads(told) == {"part": {"ips": ["10.80.0.10-10.80.0.14"]}}


def test_a_reserved_address_is_given_to_nobody(
    kubectl: Kubectl, installed: Site, namespace: str
) -> None:
    put(kubectl, pool("four", "10.80.0.0/16", "10.80.3.1-10.80.3.4"))
    put(kubectl, reservation("printers", "10.80.3.1-10.80.3.2"))
    wanted = json.dumps({"ipv4": ["four"]})
    kubectl.apply(deployment(namespace, "web", 2, ippool=wanted))
    pods = until_running(kubectl, namespace, 2)
    assert sorted(pod.addresses for pod in pods) == [("10.80.3.3",), ("10.80.3.4",)]


def test_a_workload_that_cannot_have_its_pool_is_told_so_by_an_event(
    kubectl: Kubectl, installed: Site, namespace: str
) -> None:
    kubectl.apply(deployment(namespace, "web", 0, subnet='{"ipv4":["absent"]}'))
    about = "involvedObject.kind=Deployment,reason=SubnetUnknown"

    def event() -> str:
        return kubectl("get", "events", "-n", namespace, "--field-selector", about, "--no-headers")

    assert "'absent'" in until(event, 30, POLL_S)
    assert "SubnetUnknown" in kubectl("describe", "deployment", "web", "-n", namespace)


def test_a_pod_without_an_address_says_what_each_pool_was_passed_over_for(
    kubectl: Kubectl, installed: Site, namespace: str
) -> None:
    put(kubectl, pool("one", "10.80.0.0/16", "10.80.4.1"))
    kubectl.apply(deployment(namespace, "web", 2, ippool='{"ipv4":["one"]}'))

    def told() -> bool:
        about = ("--field-selector", "reason=FailedCreatePodSandBox", "-o", "wide")
        return "pool one is exhausted (1 of 1" in kubectl("get", "events", "-n", namespace, *about)

    until(told, 60, POLL_S)


def test_without_a_webhook_the_finalizer_keeps_a_pool_in_use_until_its_last_address(
    kubectl: Kubectl, installed: Site, namespace: str
) -> None:
    put(kubectl, BLUE)
    kubectl.apply(deployment(namespace, "web", 1, ippool=FROM_BLUE))
    until_running(kubectl, namespace, 1)
    with installed.unguarded():
        kubectl("delete", POOLS, "blue", "--wait=false")
    kubectl("wait", "--for=condition=Terminating", f"{POOLS}/blue", "--timeout=30s")
    assert "1 addresses in use; it goes with the last one" in kubectl("describe", POOLS, "blue")
    assert installed.pools()["blue"].terminating

    kubectl("delete", "-n", namespace, "deployment/web")
    kubectl("wait", "--for=delete", f"{POOLS}/blue", "--timeout=120s")
    assert "blue" not in installed.pools()
