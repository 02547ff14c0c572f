"""The cluster as the collector sees it: by watches, and by direct reads before it frees."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from ipledger.events.facts import Application
from ipledger.gc.claims import Claim
from ipledger.projections.cluster import kinds
from ipledger.projections.cluster.kinds import Kind
from ipledger.projections.cluster.live.api import Api, ApiError, decode
from ipledger.projections.cluster.live.watch import Watch
from ipledger.projections.cluster.metadata import Object
from ipledger.projections.cluster.mirror import Synced
from ipledger.projections.cluster.nodes import Node
from ipledger.projections.cluster.pods import Pod
from ipledger.projections.cluster.watch_counts import WatchCounts

READ_TIMEOUT_S = 10.0
"""How long a direct read may take: nothing is freed on the word of a server that is slower."""

_KINDS = (
    kinds.DEPLOYMENTS,
    kinds.REPLICA_SETS,
    kinds.STATEFUL_SETS,
    kinds.DAEMON_SETS,
    kinds.JOBS,
    kinds.CRON_JOBS,
    kinds.CRON_JOBS_BETA,
    kinds.MACHINES,
    kinds.MACHINE_INSTANCES,
)


class _Resource(msgspec.Struct):
    name: str
    kind: str
    namespaced: bool = True


class _Resources(msgspec.Struct):
    resources: tuple[_Resource, ...] = ()


class _List(msgspec.Struct):
    items: tuple[msgspec.Raw, ...] | None = None


_resources = msgspec.json.Decoder(_Resources)
_list = msgspec.json.Decoder(_List)


@dataclass(slots=True)
class View:
    """Mirrors of all pods and nodes. `random` gives numbers from 0 to 1, for pauses.

    Direct reads are consistent ones: they see what was written before they began, however far the
    watches are behind. They raise `ApiError` and `ApiUnreachableError`.
    """

    api: Api
    pods: Watch[Pod]
    nodes: Watch[Node]
    random: Callable[[], float]

    @classmethod
    def of(cls, api: Api, interval_s: float, random: Callable[[], float]) -> View:
        """Of the cluster that an API server tells of; what is older than that is listed anew.

        What a watch wrongly says is there is never read directly, and would be kept for ever.
        """
        pods = Watch(api, kinds.PODS, random=random, list_every_s=interval_s)
        nodes = Watch(api, kinds.NODES, random=random, list_every_s=interval_s)
        return cls(api, pods, nodes, random)

    @property
    def is_synced(self) -> bool:
        """Whether pods and nodes were listed as a whole at least once."""
        return self.pods.is_synced and self.nodes.is_synced

    @property
    def watches(self) -> dict[str, WatchCounts]:
        """What the watches counted, by the plural of their kinds."""
        return {watch.counts.resource: watch.counts for watch in (self.pods, self.nodes)}

    async def sync(self, timeout_s: float) -> None:
        """List all pods and nodes. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout_s):
            await asyncio.gather(_until_synced(self.pods), _until_synced(self.nodes))

    def pod_of(self, claim: Claim) -> Pod | None:
        """The pod that has a claim's name, as the watch has it."""
        return self.pods.objects.get(claim.pod.namespace, claim.pod.name)

    def node_of(self, claim: Claim, pod: Pod | None) -> Node | None:
        """The node of a claim, whose pod is like this, as the watch has it."""
        return self.nodes.objects.get("", claim.node_of(pod))

    async def read_pod(self, claim: Claim) -> Pod | None:
        """The pod that has a claim's name now."""
        return await self._read(kinds.PODS, claim.pod.name, claim.pod.namespace)

    async def read_node(self, claim: Claim, pod: Pod) -> Node | None:
        """The node of a claim, whose pod is like this, now."""
        return await self._read(kinds.NODES, claim.node_of(pod))

    async def knows_pods(self) -> bool:
        """Whether the API server knows of any pod now.

        One that was started with an empty state says of every single object that it is not there.
        """
        query = {"limit": "1"}
        answer = await self.api.call(
            "GET", kinds.PODS.path(), query=query, timeout_s=READ_TIMEOUT_S
        )
        return bool(decode(_list, answer).items)

    async def read_owner(self, application: Application) -> Object | None:
        """The object that an application is, now."""
        kind = await self.kind_of(application.api_version, application.kind)
        return await self._read(kind, application.name, application.namespace)

    async def list_owners(self, api_version: str, kind: str, timeout_s: float) -> Watch[Object]:
        """All objects of a kind, as they were a moment ago. Raises `TimeoutError`, too."""
        of = await self.kind_of(api_version, kind)
        await self.api.call("GET", of.path(), query={"limit": "1"}, timeout_s=READ_TIMEOUT_S)
        found: Watch[Object] = Watch(self.api, of, random=self.random)  # it tries for ever
        async with asyncio.timeout(timeout_s):
            await _until_synced(found)
        return found

    async def kind_of(self, api_version: str, name: str) -> Kind[Object]:
        """A kind by its name, its metadata alone. Raises `ApiError` where there is none."""
        for kind in _KINDS:
            if (kind.api_version, kind.name) == (api_version, name):
                return Kind(api_version, name, kind.plural, Object)
        root = "apis" if "/" in api_version else "api"
        answer = await self.api.call("GET", f"/{root}/{api_version}", timeout_s=READ_TIMEOUT_S)
        for found in decode(_resources, answer).resources:
            if found.kind == name and "/" not in found.name:
                return Kind(api_version, name, found.name, Object, found.namespaced)
        raise ApiError(404, "NotFound", f"{api_version} has no kind {name}")

    async def _read(self, kind: Kind[kinds.O], name: str, namespace: str = "") -> kinds.O | None:
        try:
            return await self.api.get(kind, name, namespace, timeout_s=READ_TIMEOUT_S)
        except ApiError as error:
            if error.says_there_is_no(name):
                return None
            raise


async def _until_synced(watch: Watch[kinds.O]) -> None:
    async with contextlib.aclosing(watch.changes()) as changes:
        async for change in changes:
            if isinstance(change, Synced):
                return
