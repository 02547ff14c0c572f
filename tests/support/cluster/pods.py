"""Manifests of pods for tests, and waiting for them."""

from __future__ import annotations

from typing import Any

from support.cluster import image
from support.cluster.kubectl import Kubectl
from support.node import until

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


def deployment(namespace: str, name: str, replicas: int, **annotations: str) -> dict[str, Any]:
    """A Deployment. Annotations are named without `ipam.spidernet.io/`."""
    labels = {"app": name}
    named = {f"ipam.spidernet.io/{key}": value for key, value in annotations.items()}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": template(labels, named),
        },
    }


def wait_running(kubectl: Kubectl, namespace: str, name: str) -> None:
    """Wait until every pod of a Deployment or StatefulSet runs."""
    timeout = f"--timeout={TIMEOUT_S:.0f}s"
    kubectl("rollout", "status", "-n", namespace, name, timeout)


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
