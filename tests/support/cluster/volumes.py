"""Volumes for claims, as an administrator without a provisioner makes them: folders of machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from support.cluster.kubectl import Kubectl
from support.cluster.machine import Machine

_CLASS = "local"


def offer(kubectl: Kubectl, machines: Sequence[Machine], each: int, name: str) -> None:
    """Offer so many volumes of 10 GiB on each machine, of the cluster's default class."""
    kubectl.apply(_default_class())
    for machine in machines:
        for number in range(each):
            folder = machine.folder / "volumes" / f"{name}-{number}"
            folder.mkdir(parents=True)
            kubectl.apply(_volume(f"{name}-{machine.name}-{number}", machine, str(folder)))


def _default_class() -> dict[str, Any]:
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": _CLASS, "annotations": default},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def _volume(name: str, machine: Machine, folder: str) -> dict[str, Any]:
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [machine.name]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": _CLASS,
            "local": {"path": folder},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }
