"""The nodes of a cluster whose API server is a double, and the pods that a test makes on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from support.apiserver import ApiServer
from support.kube import ServerThread
from support.node import Outcome, Runtime
from support.program import until

T = TypeVar("T")

WAIT_S = 30.0


@dataclass
class KubeNodes:
    """An API server, and what calls the plugin on each of its nodes."""

    api: ServerThread
    runtimes: Mapping[str, Runtime]

    def until(self, check: Callable[[ApiServer], T | None]) -> T:
        """What `check(server)` returns once it is true."""
        return until(lambda: self.api.do(check), WAIT_S)

    def pod(
        self,
        name: str,
        owner: Any = None,
        *,
        node: str = "node-1",
        namespace: str = "shop",
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> str:
        """Create a pod on a node, and return its UID."""

        def create(server: ApiServer) -> str:
            owners = [{**owner, "controller": True}] if owner else []
            metadata: Any = {"name": name, "ownerReferences": owners, "labels": labels or {}}
            metadata["annotations"] = annotations or {}
            body = {"metadata": metadata, "spec": {"nodeName": node}}
            uid: str = server.create("v1", "pods", body, namespace)["metadata"]["uid"]
            return uid

        return self.api.do(create)

    def remove(self, name: str) -> None:
        """Delete a pod of shop at once."""
        self.api.do(lambda server: server.delete("pods", name, "shop"))

    def call(
        self,
        command: str,
        pod: str,
        uid: str,
        *,
        node: str = "node-1",
        namespace: str = "shop",
        **ipam: Any,
    ) -> Outcome:
        """Call the plugin as a node's runtime does; `ipam` is more of its configuration."""
        names = f"K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={pod};K8S_POD_UID={uid}"
        runtime, args = self.runtimes[node], f"IgnoreUnknown=1;{names}"
        return runtime.cni(command, f"sandbox-{uid}", runtime.config(**ipam), CNI_ARGS=args)
