"""Manifests of pods for tests, and waiting for them."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from support.cluster import image
from support.cluster.kubectl import Kubectl
from support.program import until

TIMEOUT_S = 180.0
NEVER = "0 0 31 2 *"
POLL_S = 0.1  # to ask costs the machine that is asked about

_API_VERSIONS = {"Job": "batch/v1", "CronJob": "batch/v1beta1"}


@dataclass(frozen=True, slots=True)
class Running:
    """A pod that runs, and that nobody deletes."""

    namespace: str
    name: str
    uid: str
    node: str
    addresses: tuple[str, ...]


def running(kubectl: Kubectl, namespace: str = "") -> list[Running]:
    """The pods that run in a namespace or in all of them, by name."""
    where = ("-n", namespace) if namespace else ("--all-namespaces",)
    pods = [pod for pod in kubectl.get("pods", *where) if _runs(pod)]
    return sorted(map(_running, pods), key=attrgetter("name"))


def _runs(pod: dict[str, Any]) -> bool:
    return pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]


def _running(pod: dict[str, Any]) -> Running:
    metadata, addresses = pod["metadata"], pod["status"].get("podIPs", ())
    return Running(
        metadata["namespace"],
        metadata["name"],
        metadata["uid"],
        pod["spec"]["nodeName"],
        tuple(one["ip"] for one in addresses),
    )


def until_running(kubectl: Kubectl, namespace: str, number: int) -> list[Running]:
    """The pods of a namespace once so many run, and there are no others."""

    def found() -> list[Running] | None:
        pods = running(kubectl, namespace)
        count = len(kubectl.get("pods", "-n", namespace))
        return pods if len(pods) == count == number and all(p.addresses for p in pods) else None

    return until(found, TIMEOUT_S, POLL_S)


def template(labels: dict[str, str], annotations: dict[str, str]) -> dict[str, Any]:
    """A pod that waits for its end."""
    container = {"name": "pause", "image": image.NAME, "imagePullPolicy": "Never"}
    return {
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": {
            "containers": [container],
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 5,
        },
    }


def bystander() -> dict[str, Any]:
    """A pod that no machine takes, so that the cluster is never without any."""
    nowhere = {**template({}, {})["spec"], "nodeSelector": {"nowhere": "yes"}}
    metadata = {"namespace": "default", "name": "bystander"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": nowhere}


def workload(
    kind: str, namespace: str, name: str, replicas: int | None, **annotations: str
) -> dict[str, Any]:
    """A controller of such pods, with `replicas` pods if it is of a kind that has a number.

    Annotations are named without `ipam.spidernet.io/`.
    """
    labels = {"app": name}
    named = {f"ipam.spidernet.io/{key}": value for key, value in annotations.items()}
    spec: dict[str, Any] = {"template": template(labels, named)}
    if kind in ("Job", "CronJob"):
        spec["template"]["spec"]["restartPolicy"] = "Never"
        spec |= {"parallelism": replicas, "completions": replicas}
        spec = {"schedule": NEVER, "jobTemplate": {"spec": spec}} if kind == "CronJob" else spec
    else:
        spec["selector"] = {"matchLabels": labels}
        spec |= {} if kind == "DaemonSet" else {"replicas": replicas}
        spec |= {"serviceName": name} if kind == "StatefulSet" else {}
    return {
        "apiVersion": _API_VERSIONS.get(kind, "apps/v1"),
        "kind": kind,
        "metadata": {"namespace": namespace, "name": name},
        "spec": spec,
    }


def deployment(namespace: str, name: str, replicas: int, **annotations: str) -> dict[str, Any]:
    """A Deployment; see `workload`."""
    return workload("Deployment", namespace, name, replicas, **annotations)


def wait_running(kubectl: Kubectl, namespace: str, name: str) -> None:
    """Wait until every pod of a Deployment, StatefulSet or DaemonSet runs."""
    timeout = f"--timeout={TIMEOUT_S:.0f}s"
    kubectl("rollout", "status", "-n", namespace, name, timeout)


def wait_pods(kubectl: Kubectl, namespace: str, number: int) -> None:
    """Wait until so many pods run in a namespace, whoever controls them."""

    def running() -> bool:
        pods = kubectl.get("pods", "-n", namespace)
        return [pod["status"]["phase"] for pod in pods] == ["Running"] * number

    until(running, TIMEOUT_S, POLL_S)


def wait_gone(kubectl: Kubectl, namespace: str) -> None:
    """Wait until a namespace has no pods."""
    until(lambda: kubectl.get("pods", "-n", namespace) == [], TIMEOUT_S, POLL_S)


def addresses(kubectl: Kubectl, namespace: str) -> dict[str, str]:
    """The first address of each pod that has one, by the pod's name."""
    return {
        pod["metadata"]["name"]: pod["status"]["podIP"]
        for pod in kubectl.get("pods", "-n", namespace)
        if "podIP" in pod["status"]
    }


def all_addresses(kubectl: Kubectl, namespace: str) -> dict[str, list[str]]:
    """All addresses of each pod, by the pod's name."""
    return {
        pod["metadata"]["name"]: [one["ip"] for one in pod["status"].get("podIPs", ())]
        for pod in kubectl.get("pods", "-n", namespace)
    }
