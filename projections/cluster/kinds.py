"""The kinds of objects that are read, and the paths at which an API server has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from ipledger.projections.cluster import spiderpool, workloads
from ipledger.projections.cluster.leases import Lease
from ipledger.projections.cluster.metadata import Object
from ipledger.projections.cluster.nodes import Namespace, Node
from ipledger.projections.cluster.pods import Pod

O = TypeVar("O", bound=Object)  # noqa: E741
O_co = TypeVar("O_co", bound=Object, covariant=True)

_SPIDERPOOL = "spiderpool.spidernet.io/v2beta1"


@dataclass(frozen=True, slots=True)
class Kind(Generic[O_co]):
    """A kind of objects. `plural` is its word in paths, `shape` what is read of an object."""

    api_version: str
    name: str
    plural: str
    shape: type[O_co]
    is_namespaced: bool = True

    @property
    def group(self) -> str:
        """The API group, '' for the core."""
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of all objects, those of a namespace, one of them, or a part of one.

        >>> PODS.path("shop", "web-0", "status")
        '/api/v1/namespaces/shop/pods/web-0/status'
        """
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        scope = f"/namespaces/{namespace}" if namespace and self.is_namespaced else ""
        below = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{root}{scope}/{self.plural}{below}"


PODS = Kind("v1", "Pod", "pods", Pod)
NODES = Kind("v1", "Node", "nodes", Node, is_namespaced=False)
NAMESPACES = Kind("v1", "Namespace", "namespaces", Namespace, is_namespaced=False)

DEPLOYMENTS = Kind("apps/v1", "Deployment", "deployments", workloads.Replicated)
REPLICA_SETS = Kind("apps/v1", "ReplicaSet", "replicasets", workloads.Replicated)
STATEFUL_SETS = Kind("apps/v1", "StatefulSet", "statefulsets", workloads.Replicated)
DAEMON_SETS = Kind("apps/v1", "DaemonSet", "daemonsets", workloads.DaemonSet)
JOBS = Kind("batch/v1", "Job", "jobs", workloads.Job)
CRON_JOBS = Kind("batch/v1", "CronJob", "cronjobs", workloads.CronJob)
CRON_JOBS_BETA = Kind("batch/v1beta1", "CronJob", "cronjobs", workloads.CronJob)
MACHINES = Kind("kubevirt.io/v1", "VirtualMachine", "virtualmachines", workloads.Machine)
MACHINE_INSTANCES = Kind(
    "kubevirt.io/v1", "VirtualMachineInstance", "virtualmachineinstances", workloads.Machine
)

POOLS = Kind(
    _SPIDERPOOL, "SpiderIPPool", "spiderippools", spiderpool.SpiderIPPool, is_namespaced=False
)
SUBNETS = Kind(
    _SPIDERPOOL, "SpiderSubnet", "spidersubnets", spiderpool.SpiderSubnet, is_namespaced=False
)
RESERVATIONS = Kind(
    _SPIDERPOOL,
    "SpiderReservedIP",
    "spiderreservedips",
    spiderpool.SpiderReservedIP,
    is_namespaced=False,
)
ENDPOINTS = Kind(_SPIDERPOOL, "SpiderEndpoint", "spiderendpoints", spiderpool.SpiderEndpoint)

LEASES = Kind("coordination.k8s.io/v1", "Lease", "leases", Lease)

NETWORK_ATTACHMENTS = Kind(
    "k8s.cni.cncf.io/v1", "NetworkAttachmentDefinition", "network-attachment-definitions", Object
)
