"""Every write of the controller to the API server.

A write of a list or of a specification names the version it was made from, so that somebody
else's change is never overwritten; a status is the controller's own, and names the object's UID.
A conflict is raised as the `ApiError` that it is (409): the watch brings what is there now. An
object that is gone is no error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from ipledger.kube.objects import FINALIZER
from ipledger.projections.cluster.kinds import Kind
from ipledger.projections.cluster.live.api import JSON, MERGE_PATCH, Api, ApiError
from ipledger.projections.cluster.metadata import Object
from ipledger.projections.cluster.spiderpool import Condition

_COMPONENT = "ipledger-controller"
_EVENT_TEXT_MAX = 1024
_DEFAULT_NAMESPACE = "default"


class Writes:
    """Writes to `api`. `clock` gives the time now as RFC 3339 in UTC, in whole seconds."""

    def __init__(self, api: Api, clock: Callable[[], str]) -> None:
        self._api = api
        self.clock = clock

    async def set_finalizer(self, kind: Kind[Any], found: Object, *, there: bool) -> None:
        """Put the finalizer on an object, or take it off."""
        others = [one for one in found.metadata.finalizers if one != FINALIZER]
        metadata = {"finalizers": [*others, FINALIZER] if there else others}
        await self._patch(kind, found, {}, metadata)

    async def change(
        self, kind: Kind[Any], found: Object, body: dict[str, Any], metadata: dict[str, Any]
    ) -> None:
        """Merge a change into the version of an object that was seen, and no other."""
        await self._patch(kind, found, body, metadata)

    async def _patch(
        self, kind: Kind[Any], found: Object, body: dict[str, Any], metadata: dict[str, Any]
    ) -> None:
        seen = {"uid": found.uid, "resourceVersion": found.metadata.resource_version}
        path = kind.path(found.metadata.namespace, found.metadata.name)
        patch = {**body, "metadata": {**metadata, **seen}}
        await self._if_there("PATCH", path, patch, MERGE_PATCH)

    async def set_status(
        self,
        kind: Kind[Any],
        found: Object,
        status: dict[str, Any],
        conditions: Iterable[Condition],
    ) -> None:
        """Write the status of an object, if its definition has one."""
        path = kind.path(found.metadata.namespace, found.metadata.name, "status")
        told = msgspec.to_builtins(list(conditions))
        patch = {"metadata": {"uid": found.uid}, "status": {**status, "conditions": told}}
        await self._if_there("PATCH", path, patch, MERGE_PATCH)

    async def create(self, kind: Kind[Any], body: dict[str, Any], namespace: str = "") -> None:
        """Create an object. One that is there already is let be, and so is a namespace that is
        gone."""
        whole = {"apiVersion": kind.api_version, "kind": kind.name, **body}
        try:
            await self._api.call("POST", kind.path(namespace), whole)
        except ApiError as error:
            if error.reason not in ("AlreadyExists", "NotFound"):
                raise

    async def delete(self, kind: Kind[Any], found: Object) -> None:
        """Delete this very object, if it is still there."""
        path = kind.path(found.metadata.namespace, found.metadata.name)
        await self._if_there("DELETE", path, {"preconditions": {"uid": found.uid}})

    async def _if_there(
        self, method: str, path: str, body: object, content_type: str = JSON
    ) -> None:
        try:
            await self._api.call(method, path, body, content_type=content_type)
        except ApiError as error:
            if error.status != 404:
                raise

    async def tell(self, kind: Kind[Any], found: Object, reason: str, message: str) -> None:
        """A Kubernetes Event of type Warning about an object."""
        namespace = found.metadata.namespace or _DEFAULT_NAMESPACE
        now = self.clock()
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{found.metadata.name[:200]}.", "namespace": namespace},
            "involvedObject": {
                "apiVersion": kind.api_version,
                "kind": kind.name,
                "name": found.metadata.name,
                "namespace": found.metadata.namespace,
                "uid": found.uid,
                "resourceVersion": found.metadata.resource_version,
            },
            "type": "Warning",
            "reason": reason,
            "message": message[:_EVENT_TEXT_MAX],
            "source": {"component": _COMPONENT},
            "reportingComponent": _COMPONENT,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        await self._api.call("POST", f"/api/v1/namespaces/{namespace}/events", event)
