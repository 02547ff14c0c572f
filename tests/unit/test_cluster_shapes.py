"""Kubernetes objects as they are read, and what follows from them."""

from __future__ import annotations

import msgspec
import pytest

from ipledger.projections.cluster.kinds import (
    CRON_JOBS_BETA,
    DEPLOYMENTS,
    ENDPOINTS,
    NAMESPACES,
    NODES,
    PODS,
    POOLS,
)
from ipledger.projections.cluster.metadata import kept_annotations
from ipledger.projections.cluster.pods import Pod, why_not_alive
from ipledger.projections.cluster.workloads import CronJob, DaemonSet, Job, Replicated


def pod(text: str) -> Pod:
    return msgspec.json.decode(text, type=Pod)


ALIVE = {
    "pending": '{"status":{"phase":"Pending"}}',
    "running": '{"status":{"phase":"Running"}}',
    "nothing said": "{}",
    "failed, and is started again": (
        '{"spec":{"restartPolicy":"OnFailure"},"status":{"phase":"Failed"}}'
    ),
    "succeeded, and is started again": '{"status":{"phase":"Succeeded"}}',
}
NOT_ALIVE = {
    "being deleted": (
        '{"metadata":{"deletionTimestamp":"2026-11-22T12:00:00Z"},"status":{"phase":"Running"}}',
        "it is being deleted since 2026-11-22T12:00:00Z",
    ),
    "succeeded": (
        '{"spec":{"restartPolicy":"OnFailure"},"status":{"phase":"Succeeded"}}',
        "it has succeeded, and its restartPolicy is OnFailure",
    ),
    "failed": (
        '{"spec":{"restartPolicy":"Never"},"status":{"phase":"Failed"}}',
        "it has failed, and its restartPolicy is Never",
    ),
    "evicted": ('{"status":{"phase":"Failed","reason":"Evicted"}}', "it was evicted"),
}


@pytest.mark.parametrize("text", ALIVE.values(), ids=ALIVE)
def test_a_pod_is_alive(text: str) -> None:
    assert why_not_alive(pod(text)) == ""


@pytest.mark.parametrize(("text", "why"), NOT_ALIVE.values(), ids=NOT_ALIVE)
def test_a_pod_is_not_alive_and_it_is_said_why(text: str, why: str) -> None:
    assert why_not_alive(pod(text)) == why


def test_the_mirror_of_a_static_pod_has_the_uid_that_its_kubelet_gave() -> None:
    mirror = pod('{"metadata":{"uid":"u1","annotations":{"kubernetes.io/config.mirror":"abc"}}}')
    assert mirror.has_uid("u1")
    assert mirror.has_uid("abc")
    assert not mirror.has_uid("u2")
    assert not pod('{"metadata":{"uid":"u1"}}').has_uid("abc")


def test_a_pod_has_finished_when_the_last_of_its_containers_has() -> None:
    ended = '{"state":{"terminated":{"finishedAt":"2026-11-22T12:00:0%dZ"}}}'
    running = '{"state":{"running":{}}}'
    two = f'{{"status":{{"containerStatuses":[{ended % 1},{ended % 3},{running}]}}}}'
    assert pod(two).status.finished_at == "2026-11-22T12:00:03Z"
    assert pod(f'{{"status":{{"containerStatuses":[{running}]}}}}').status.finished_at == ""


def test_the_controller_is_the_one_among_the_owners_that_says_so() -> None:
    owner = '{"apiVersion":"v1","kind":"Node","name":"n","uid":"1"}'
    controller = (
        '{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"r","uid":"2","controller":true}'
    )
    owned = pod(f'{{"metadata":{{"ownerReferences":[{owner},{controller}]}}}}')
    assert owned.metadata.controller is not None
    assert owned.metadata.controller.name == "r"
    assert pod(f'{{"metadata":{{"ownerReferences":[{owner}]}}}}').metadata.controller is None


def test_annotations_that_nobody_reads_are_dropped() -> None:
    kept = {"ipledger.io/static-ip": "10.0.0.9", "k8s.v1.cni.cncf.io/networks": "a"}
    assert kept_annotations({**kept, "kubectl.kubernetes.io/last-applied": "{}"}) == kept


def test_a_node_is_ready_when_it_says_so() -> None:
    def node(status: str) -> bool:
        text = f'{{"status":{{"conditions":[{{"type":"Ready","status":"{status}"}}]}}}}'
        return msgspec.json.decode(text, type=NODES.shape).is_ready

    assert [node("True"), node("False"), node("Unknown")] == [True, False, False]
    assert not msgspec.json.decode("{}", type=NODES.shape).is_ready


def test_workloads_want_as_many_pods_as_spiderpool_counts() -> None:
    def wants(shape: type[Replicated | DaemonSet | Job | CronJob], text: str) -> int:
        return msgspec.json.decode(text, type=shape).replicas

    assert wants(Replicated, '{"spec":{"replicas":3}}') == 3
    assert wants(Replicated, '{"spec":{"replicas":0}}') == 0
    assert wants(Replicated, "{}") == 1
    assert wants(DaemonSet, '{"status":{"desiredNumberScheduled":4}}') == 4
    assert wants(Job, '{"spec":{"completions":5,"parallelism":2}}') == 5
    assert wants(Job, '{"spec":{"parallelism":2}}') == 2
    assert wants(Job, '{"spec":{"completions":0}}') == 1
    assert wants(CronJob, '{"spec":{"jobTemplate":{"spec":{"completions":6}}}}') == 6


def test_an_endpoint_tells_the_addresses_of_a_pod() -> None:
    text = """{"metadata":{"name":"web-0","namespace":"shop"},
      "status":{"ownerControllerType":"StatefulSet","ownerControllerName":"web","current":{"uid":"u1","node":"n1","ips":[{"interface":"eth0",
      "ipv4":"10.6.0.1/16","ipv4Pool":"blue","vlan":0,"routes":[]}]}}}"""
    found = msgspec.json.decode(text, type=ENDPOINTS.shape)
    assert found.status.owner_controller_name == "web"
    [address] = found.status.current.ips
    assert (address.interface, address.ipv4, address.ipv4_pool) == ("eth0", "10.6.0.1/16", "blue")


def test_the_specification_of_a_pool_stays_as_it_was_written() -> None:
    text = (
        '{"metadata":{"name":"blue"},"spec":{"subnet":"10.6.0.0/16"},"status":{"totalIPCount":7}}'
    )
    found = msgspec.json.decode(text, type=POOLS.shape)
    assert bytes(found.spec) == b'{"subnet":"10.6.0.0/16"}'
    assert found.status.total_ip_count == 7


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (PODS.path(), "/api/v1/pods"),
        (PODS.path("shop"), "/api/v1/namespaces/shop/pods"),
        (NAMESPACES.path("", "shop"), "/api/v1/namespaces/shop"),
        (NODES.path("ignored", "n1", "status"), "/api/v1/nodes/n1/status"),
        (DEPLOYMENTS.path("shop", "web"), "/apis/apps/v1/namespaces/shop/deployments/web"),
        (CRON_JOBS_BETA.path("shop"), "/apis/batch/v1beta1/namespaces/shop/cronjobs"),
        (
            POOLS.path("", "blue", "status"),
            "/apis/spiderpool.spidernet.io/v2beta1/spiderippools/blue/status",
        ),
    ],
)
def test_paths_are_those_of_kubernetes(path: str, expected: str) -> None:
    assert path == expected
