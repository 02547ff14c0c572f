"""The resources there are: the built-in ones that tests use, and those of definitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CORE_VERSION = "v1"


@dataclass(frozen=True)
class Resource:
    """A resource. `has_status` says that `/status` is its own subresource."""

    group: str
    version: str
    plural: str
    kind: str
    is_namespaced: bool = True
    has_status: bool = True
    is_custom: bool = False

    @property
    def api_version(self) -> str:
        """As objects have it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def full_name(self) -> str:
        """As error messages have it; and where objects of all versions are stored."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def has_generation(self) -> bool:
        """Whether `metadata.generation` counts changes of the specification."""
        return self.is_custom or self.group in ("apps", "batch")


BUILT_IN = (
    Resource("", "v1", "pods", "Pod"),
    Resource("", "v1", "nodes", "Node", is_namespaced=False),
    Resource("", "v1", "namespaces", "Namespace", is_namespaced=False),
    Resource("", "v1", "configmaps", "ConfigMap", has_status=False),
    Resource("", "v1", "events", "Event", has_status=False),
    Resource("apps", "v1", "deployments", "Deployment"),
    Resource("apps", "v1", "replicasets", "ReplicaSet"),
    Resource("apps", "v1", "statefulsets", "StatefulSet"),
    Resource("apps", "v1", "daemonsets", "DaemonSet"),
    Resource("batch", "v1", "jobs", "Job"),
    Resource("batch", "v1", "cronjobs", "CronJob"),
    Resource("batch", "v1beta1", "cronjobs", "CronJob"),
    Resource("coordination.k8s.io", "v1", "leases", "Lease", has_status=False),
    Resource(
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        is_namespaced=False,
    ),
)
DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"


def custom(definition: dict[str, Any]) -> list[Resource]:
    """The resources that a CustomResourceDefinition defines, one for each version served."""
    spec = definition["spec"]
    return [
        Resource(
            spec["group"],
            version["name"],
            spec["names"]["plural"],
            spec["names"]["kind"],
            is_namespaced=spec["scope"] == "Namespaced",
            has_status="status" in version.get("subresources", {}),
            is_custom=True,
        )
        for version in spec["versions"]
        if version["served"]
    ]
