"""Manifests of pods for tests, and waiting for them."""

from __future__ import annotations

from typing import Any

from support.cluster import image
from support.cluster.kubectl import Kubectl
from support.program import until

TIMEOUT_S = 180.0
POLL_S = 0.1  # to ask costs the machine that is asked about


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


def workload(
    kind: str, namespace: str, name: str, replicas: int | None, **annotations: str
) -> dict[str, Any]:
    """A controller of such pods, with `replicas` pods if it is of a kind that has a number.

    Annotations are named without `ipam.spidernet.io/`.
    """
    labels = {"app": name}
    named = {f"ipam.spidernet.io/{key}": value for key, value in annotations.items()}
    spec: dict[str, Any] = {"template": template(labels, named)}
    if kind == "Job":
        spec["template"]["spec"]["restartPolicy"] = "Never"
        spec |= {"parallelism": replicas, "completions": replicas}
    else:
        spec["selector"] = {"matchLabels": labels}
        spec |= {} if kind == "DaemonSet" else {"replicas": replicas}
        spec |= {"serviceName": name} if kind == "StatefulSet" else {}
    return {
        "apiVersion": "batch/v1" if kind == "Job" else "apps/v1",
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
