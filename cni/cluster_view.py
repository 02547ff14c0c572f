"""A node's view of the cluster: its pods, itself and the namespaces, watched; the rest, asked.

In a cluster the API server is believed over the network configuration: whoever writes a pod can
write `cni-args` of its networks too, and must not be able to name another's owner, labels or
namespace. The configuration adds annotations that the pod has not, and the network's name where
the annotations give none (docs/reference/kubernetes-agent.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import msgspec

from ipledger.cni.errors import CniError, Code
from ipledger.cni.inputs import PodInputs, read_by_engine
from ipledger.cni.multus import network_of
from ipledger.cni.owners import Owners, find
from ipledger.cni.request import CniRequest
from ipledger.engine.subnet_annotations import SUBNET, SUBNETS
from ipledger.projections.cluster.kinds import NAMESPACES, NODES, PODS
from ipledger.projections.cluster.live.api import Api, ApiError, ApiUnreachableError
from ipledger.projections.cluster.live.connect import connected
from ipledger.projections.cluster.live.pauses import Pauses
from ipledger.projections.cluster.live.watch import Selection, Watch
from ipledger.projections.cluster.metadata import Metadata
from ipledger.projections.cluster.nodes import Namespace, Node
from ipledger.projections.cluster.pods import Pod, why_not_alive
from ipledger.projections.cluster.watch_counts import WatchCounts

_log = logging.getLogger(__name__)

_PATIENCE_S = 10.0
_LOOK_S = 0.5
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0


@contextlib.asynccontextmanager
async def cluster_view(kubeconfig: Path | None, node: str) -> AsyncGenerator[ClusterView]:
    """A view that watches. Without a kubeconfig, the service account of this pod is used.

    The API server need not be there yet. Raises `KubeconfigError`.
    """
    async with connected(kubeconfig) as api:
        view = ClusterView(api, node, random.random)
        watching = asyncio.create_task(view.run())
        watching.add_done_callback(_tell_if_failed)
        try:
            yield view
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await view.close()


def _tell_if_failed(watching: asyncio.Task[None]) -> None:
    """Every ADD then asks the API server: slower, and still right."""
    if not watching.cancelled() and watching.exception() is not None:
        _log.error("the watch of the cluster failed", exc_info=watching.exception())


class ClusterView:
    """Completes ADDs of one node (`pod_view.PodView`). `jitter` gives numbers from 0 to 1.

    An ADD for which the API server gives no answer within `patience_s` is refused with code 11.
    """

    def __init__(
        self,
        api: Api,
        node: str,
        jitter: Callable[[], float],
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._api = api
        self._node = node
        self._jitter = jitter
        self._patience_s = patience_s
        mine = Selection(fields=f"spec.nodeName={node}")
        me = Selection(fields=f"metadata.name={node}")
        self.pods = Watch(api, PODS, mine, random=jitter, from_cache=True)
        self.nodes = Watch(api, NODES, me, random=jitter, from_cache=True)
        self.namespaces = Watch(api, NAMESPACES, random=jitter, from_cache=True)
        self._owners = Owners(api, lambda: asyncio.get_running_loop().time())

    async def run(self) -> None:
        """Watch, until cancelled."""
        async with asyncio.TaskGroup() as watching:
            for watch in (self.pods, self.nodes, self.namespaces):
                watching.create_task(watch.run())

    @property
    def watches(self) -> dict[str, WatchCounts]:
        """What its watches counted, by the plural of their kinds."""
        watches = (self.pods, self.nodes, self.namespaces)
        return {watch.counts.resource: watch.counts for watch in watches}

    async def close(self) -> None:
        """End what is on its way."""
        await self._owners.close()

    async def completed(self, request: CniRequest) -> CniRequest:
        """See `PodView`. A container of another runtime, which names no namespace, is let pass."""
        if not request.pod.namespace:
            return request
        trouble: list[Exception] = []
        try:
            async with asyncio.timeout(self._patience_s):
                return await self._patiently(request, trouble)
        except TimeoutError:
            message = f"pod {request.pod}: no answer of the API server in {self._patience_s:g} s"
            detail = str(trouble[-1]) if trouble else ""
            raise CniError(Code.TRY_AGAIN_LATER, message, detail) from None

    async def has_ended(self, request: CniRequest) -> bool:
        """See `PodView`. What the watch does not have, the API server is asked for; a DEL does not
        wait long for that."""
        name, namespace = request.pod.name, request.pod.namespace
        known = self.pods.objects.get(namespace, name)
        if known is None or not known.has_uid(request.pod.uid):
            try:
                async with asyncio.timeout(_LOOK_S):
                    known = await find(self._api, PODS, name, namespace)
            except (ApiError, ApiUnreachableError, TimeoutError):
                return False
        return known is None or not known.has_uid(request.pod.uid) or bool(why_not_alive(known))

    async def _patiently(self, request: CniRequest, trouble: list[Exception]) -> CniRequest:
        pauses = Pauses(self._jitter, _FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        while True:
            try:
                return await self._complete(request)
            except (ApiError, ApiUnreachableError) as error:
                trouble.append(error)
                await asyncio.sleep(pauses.next_s())

    async def _complete(self, request: CniRequest) -> CniRequest:
        pod = await self._pod(request)
        why = why_not_alive(pod)
        if why:
            raise CniError(Code.POD_NOT_ALIVE, f"pod {request.pod} gets no address: {why}")
        namespace = await self._namespace(request)
        node = await self._own_node()
        annotations = {**request.inputs.annotations, **read_by_engine(pod.metadata.annotations)}
        owner, replicas = await self._owners.top_of(
            pod, with_replicas=SUBNETS in annotations or SUBNET in annotations
        )
        inputs = PodInputs(
            owner=owner,
            replicas=replicas,
            labels=pod.metadata.labels,
            annotations=annotations,
            namespace_labels=namespace.labels,
            namespace_annotations=read_by_engine(namespace.annotations),
            node_labels=node.labels,
            network_name=network_of(request.interface, annotations, request.pod.namespace)
            or request.inputs.network_name,
        )
        named = (
            request.pod if request.has_uid else msgspec.structs.replace(request.pod, uid=pod.uid)
        )
        return msgspec.structs.replace(request, pod=named, inputs=inputs)

    async def _pod(self, request: CniRequest) -> Pod:
        """The pod that the runtime means. Without a UID, only the API server knows which it is:
        the watch may still have an earlier one of the same name."""
        name, namespace = request.pod.name, request.pod.namespace
        known = self.pods.objects.get(namespace, name)
        if known is not None and request.has_uid and known.has_uid(request.pod.uid):
            return known
        found = await find(self._api, PODS, name, namespace)
        if found is None:
            raise _unknown(request, "it does not exist")
        if request.has_uid and not found.has_uid(request.pod.uid):
            raise _unknown(request, f"it has UID {found.uid}, not {request.pod.uid}")
        if found.spec.node_name != self._node:
            where = f"on node {found.spec.node_name}" if found.spec.node_name else "on no node"
            raise _unknown(request, f"it is {where}, not on {self._node}")
        return found

    async def _namespace(self, request: CniRequest) -> Metadata:
        name = request.pod.namespace
        found: Namespace | None = self.namespaces.objects.get("", name)
        found = found or await find(self._api, NAMESPACES, name)
        if found is None:
            raise _unknown(request, "its namespace does not exist")
        return found.metadata

    async def _own_node(self) -> Metadata:
        found: Node | None = self.nodes.objects.get("", self._node)
        found = found or await find(self._api, NODES, self._node)
        if found is None:
            message = f"node {self._node}: not registered with the API server"
            raise CniError(Code.TRY_AGAIN_LATER, message)
        return found.metadata


def _unknown(request: CniRequest, why: str) -> CniError:
    return CniError(Code.POD_UNKNOWN, f"pod {request.pod} gets no address: {why}")
