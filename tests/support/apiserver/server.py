"""The HTTP face of the double: routes, lists, watches, and faults on demand."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from support.apiserver import writes
from support.apiserver.errors import StatusError, no_object
from support.apiserver.faults import Call, Fault
from support.apiserver.resources import BUILT_IN, DEFINITIONS, Resource, custom
from support.apiserver.selectors import Object, Selects, selects
from support.apiserver.store import Event, Store, Topic

_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/(?P<version>[^/]+)"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/[a-z]))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[^/]+))?"
)
_OF_NAMESPACES = re.compile(r"/api/v1/namespaces/(?P<name>[^/]+)/(?P<sub>status|finalize)")
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
TOKEN = "the-token-of-tests"


@dataclass
class Route:
    """What a call is about."""

    resource: Resource
    namespace: str
    name: str
    sub: str

    @property
    def key(self) -> tuple[str, str]:
        """Where the store has it."""
        return (self.namespace if self.resource.is_namespaced else "", self.name)


@dataclass
class ApiServer:
    """An API server on a free port of loopback.

    `pretimeout_s`: how long before its end a watch has its last bookmark. `cache_wait_s`: how long
    a list waits for the cache to come to the version that it asks for; a real server's is 3 s.
    """

    pretimeout_s: float = 0.5
    cache_wait_s: float = 0.1
    store: Store = field(default_factory=Store)
    calls: list[Call] = field(default_factory=list[Call])
    faults: list[Fault] = field(default_factory=list[Fault])
    watches: int = 0
    """How many watches are open."""
    bookmarks_told: int = 0
    not_found: int = 0
    """How many calls were answered with 404."""
    port: int = 0
    _custom: dict[str, list[Resource]] = field(default_factory=dict[str, list[Resource]])
    _streams: list[web.Request] = field(default_factory=list[web.Request])
    _bookmarks: int = 0
    _runner: web.AppRunner | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        """Listen; after a stop, on the same port."""
        app = web.Application(client_max_size=4 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._on_call)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]
        self.store.fill_caches()
        for name in ("default", "kube-system"):
            if self.store.get("namespaces", ("", name)) is None:
                self.create("v1", "namespaces", {"metadata": {"name": name}})

    async def stop(self) -> None:
        """Break all connections and stop listening."""
        self.drop_watches()
        if self._runner is not None:
            await self._runner.cleanup()

    def kubeconfig(self, folder: Path, token: str = TOKEN) -> Path:
        """A kubeconfig file for this server."""
        path = folder / "kubeconfig"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "u", "user": {"token": token}}],
        }
        path.write_text(json.dumps(config))
        return path

    # What a test does behind the API's back.

    def create(self, api_version: str, plural: str, body: Object, namespace: str = "") -> Object:
        """Create an object."""
        group, _, version = api_version.rpartition("/")
        return writes.create(self.store, self._resource(group, version, plural), namespace, body)

    def define(
        self,
        api_version: str,
        plural: str,
        kind: str,
        scope: str = "Namespaced",
        *,
        has_status: bool = True,
    ) -> None:
        """Define a custom resource, with a status of its own unless it has none."""
        group, _, version = api_version.rpartition("/")
        served: Object = {"name": version, "served": True}
        if has_status:
            served["subresources"] = {"status": {}}
        spec: Object = {
            "group": group,
            "scope": scope,
            "names": {"plural": plural, "kind": kind},
            "versions": [served],
        }
        body: Object = {"metadata": {"name": f"{plural}.{group}"}, "spec": spec}
        made = self.create("apiextensions.k8s.io/v1", "customresourcedefinitions", body)
        self._define(made)

    def change(self, plural: str, name: str, namespace: str = "", **patch: Any) -> Object:
        """Merge a patch into an object, its status included."""
        resource = self._by_name(plural)
        known = writes.patch(
            self.store, resource, (namespace, name), "application/merge-patch+json", patch
        )
        if "status" not in patch or not resource.has_status:
            return known
        return writes.patch(
            self.store, resource, (namespace, name), "application/merge-patch+json", patch, "status"
        )

    def delete(self, plural: str, name: str, namespace: str = "") -> None:
        """Delete an object at once."""
        resource = self._by_name(plural)
        writes.delete(self.store, resource, (namespace, name), {"gracePeriodSeconds": 0})

    def drop_watches(self) -> None:
        """Break the connection of every watch."""
        for request in self._streams:
            if request.transport is not None:
                request.transport.abort()

    def bookmark(self) -> None:
        """Tell every watch the present version."""
        self._bookmarks += 1
        self.store.notify()

    async def until(self, done: Callable[[ApiServer], object]) -> None:
        """Wait until something is so, as calls come, watches open and end, and bookmarks go out."""
        async with asyncio.timeout(30):
            while not done(self):
                await self._changed.wait()

    async def until_watched(self, count: int = 1) -> None:
        """Wait until so many watches are open."""
        await self.until(lambda server: server.watches == count)

    def count(self, verb: str, resource: str) -> int:
        """How many calls of a kind came."""
        return sum((call.verb, call.resource) == (verb, resource) for call in self.calls)

    # Calls.

    async def _on_call(self, request: web.Request) -> web.StreamResponse:
        try:
            if request.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise StatusError("Unauthorized", "Unauthorized")
            route = self._route(request.path)
            call = _call(request, route)
            self.calls.append(call)
            self._tell_test()
            fault = next((fault for fault in self.faults if fault.takes(call)), Fault(times=0))
            if fault.gate is not None:
                await fault.gate.wait()
            if fault.answer is not None:
                return web.json_response(fault.answer)
            if fault.error is not None:
                status = fault.error.status()
                return web.json_response(status, status=status["code"], headers=fault.headers)
            if call.verb == "watch":
                return await self._watch(request, route, call.query, fault)
            code, body = await self._answer(request, route, call)
            if fault.drop:
                return await _broken(request, json.dumps(body).encode()[: fault.after_bytes])
            return web.json_response(body, status=code)
        except StatusError as error:
            self.not_found += error.code == 404
            self._tell_test()
            return web.json_response(error.status(), status=error.code)

    def _route(self, path: str) -> Route:
        match = _OF_NAMESPACES.fullmatch(path)
        if match is not None:
            return Route(self._resource("", "v1", "namespaces"), "", match["name"], match["sub"])
        match = _PATH.fullmatch(path)
        if match is None:
            raise StatusError("NotFound", "the server could not find the requested resource")
        resource = self._resource(match["group"] or "", match["version"], match["plural"])
        return Route(resource, match["namespace"] or "", match["name"] or "", match["sub"] or "")

    def _resource(self, group: str, version: str, plural: str) -> Resource:
        for one in self._resources():
            if (one.group, one.version, one.plural) == (group, version, plural):
                return one
        raise StatusError("NotFound", "the server could not find the requested resource")

    def _by_name(self, plural: str) -> Resource:
        return next(one for one in self._resources() if one.plural == plural)

    def _resources(self) -> list[Resource]:
        return [*BUILT_IN, *(one for defined in self._custom.values() for one in defined)]

    async def _answer(
        self, request: web.Request, route: Route, call: Call
    ) -> tuple[int, dict[str, Any]]:
        store, resource, key = self.store, route.resource, route.key
        body: Any = await request.json() if request.can_read_body else {}
        body = body or {}
        match request.method:
            case "GET" if route.name:
                known = store.get(resource.full_name, key)
                if known is None:
                    raise no_object(resource.full_name, route.name)
                return 200, {**known, "apiVersion": resource.api_version}
            case "GET":
                await self._until_cached(resource, call.query)
                return 200, self._list(route, call.query)
            case "POST":
                made = writes.create(store, resource, route.namespace, body)
                if resource.full_name == DEFINITIONS:
                    made = self._define(made)
                return 201, made
            case "PUT":
                return 200, writes.replace(store, resource, key, body, route.sub)
            case "PATCH":
                kind = request.content_type
                return 200, writes.patch(store, resource, key, kind, body, route.sub)
            case "DELETE":
                answer = writes.delete(store, resource, key, body)
                if resource.full_name == DEFINITIONS:
                    del self._custom[route.name]
                return 200, answer
            case method:
                raise StatusError("BadRequest", f"method {method}")

    def _define(self, definition: Object) -> Object:
        name = definition["metadata"]["name"]
        self._custom[name] = custom(definition)
        for one in self._custom[name]:
            self.store.fill_cache(one.full_name)
        conditions = [{"type": "Established", "status": "True"}]
        return self.change("customresourcedefinitions", name, status={"conditions": conditions})

    async def _until_cached(self, resource: Resource, query: dict[str, str]) -> None:
        """Wait until the cache is as new as a list asks it to be, for a little while."""
        asked = query.get("resourceVersion", "") or "0"
        if not asked.isdecimal():
            raise StatusError("BadRequest", f"resourceVersion: Invalid value: {asked!r}")
        if asked != "0" and query.get("continue"):
            raise StatusError(
                "BadRequest", "specifying resource version is not allowed with continue"
            )
        loop = asyncio.get_running_loop()
        ends = loop.time() + self.cache_wait_s
        while int(asked) > (cached := self.store.cached(resource.full_name)):
            if (left_s := ends - loop.time()) <= 0:
                message = f"Timeout: Too large resource version: {asked}, current: {cached}"
                raise StatusError("Timeout", message, retry_after_s=1)
            await self.store.wait(left_s)

    def _list(self, route: Route, query: dict[str, str]) -> dict[str, Any]:
        resource = route.resource
        found, metadata = self.store.list(
            resource.full_name,
            route.namespace,
            _selection(resource, query),
            0 if "resourceVersion" in query else int(query.get("limit", "0")),
            query.get("continue", ""),
        )
        if query.get("resourceVersion", ""):
            metadata["resourceVersion"] = str(self.store.cached(resource.full_name))
            found.reverse()  # a cache has no order: nobody may rest on that of the names
        return {
            "kind": f"{resource.kind}List",
            "apiVersion": resource.api_version,
            "metadata": metadata,
            "items": [_item(resource, one) for one in found],
        }

    async def _watch(
        self, request: web.Request, route: Route, query: dict[str, str], fault: Fault
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        self._streams.append(request)
        self._count(1)
        try:
            if fault.event is not None:
                await _tell(response, fault.event["type"], fault.event["object"])
            if fault.drop and request.transport is not None:
                request.transport.abort()
            if not (fault.ends or fault.drop or (fault.event or {}).get("type") == "ERROR"):
                await self._tell_changes(response, route, query)
        except ConnectionError:
            pass  # the client left
        finally:
            self._streams.remove(request)
            self._count(-1)
        return response

    def _count(self, difference: int) -> None:
        self.watches += difference
        self._tell_test()

    def _tell_test(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _tell_changes(
        self, response: web.StreamResponse, route: Route, query: dict[str, str]
    ) -> None:
        wanted = _selection(route.resource, query)
        asked = query.get("resourceVersion", "") or "0"
        revision = seen = int(asked)
        if revision == 0:
            found, _ = self.store.list(route.resource.full_name, route.namespace, wanted, 0, "")
            for one in found:
                await _tell(response, "ADDED", one)
            revision = seen = self.store.revision
        start = seen
        loop = asyncio.get_running_loop()
        ends = loop.time() + float(query.get("timeoutSeconds", "1800"))
        marks, marked = self._bookmarks, query.get("allowWatchBookmarks") != "true"
        is_lost = revision + 1 < self.store.compacted
        topic = _topic(route.resource, query)
        while (left_s := ends - loop.time()) > 0:
            events = self.store.since(topic, revision)
            if is_lost or (events and events[0].revision < self.store.compacted):
                message = f"too old resource version: {revision} ({self.store.compacted})"
                await _tell(response, "ERROR", StatusError("Expired", message).status())
                return
            for event in events:
                told = event.told(wanted) if _is_in(event, route.namespace) else None
                if told is not None:
                    await _tell(response, *told)
                revision = event.revision
            seen = max(seen, self.store.last_of(route.resource.full_name))
            due = not marked and left_s <= self.pretimeout_s
            if due or (marks != self._bookmarks and "allowWatchBookmarks" in query):
                marks, marked = self._bookmarks, marked or due
                if seen > start:  # a real one tells nothing of a kind that has not changed
                    await _tell(response, "BOOKMARK", _bookmark(route.resource, seen))
                    self.bookmarks_told += 1
                    self._tell_test()
            if not self.store.since(topic, revision) and marks == self._bookmarks:
                pause_s = left_s if marked else max(left_s - self.pretimeout_s, 0.01)
                await self.store.wait(pause_s, topic)


def _call(request: web.Request, route: Route) -> Call:
    query = dict(request.query)
    watches = query.get("watch", "false").lower() not in ("false", "0")
    if request.method == "GET":
        verb = "get" if route.name else ("watch" if watches else "list")
    else:
        verb = _VERBS.get(request.method, request.method)
    below = f"/{route.sub}" if route.sub else ""
    resource = route.resource
    namespace = route.namespace
    return Call(verb, resource.group, resource.plural + below, namespace, route.name, query)


def _selection(resource: Resource, query: dict[str, str]) -> Selects:
    return selects(query.get("labelSelector", ""), query.get("fieldSelector", ""), resource.plural)


def _topic(resource: Resource, query: dict[str, str]) -> Topic:
    """The narrowest topic that has all events of a watch."""
    node = re.fullmatch(r"spec\.nodeName==?([^=!,]+)", query.get("fieldSelector", ""))
    return (resource.full_name, node[1] if node else "")


def _is_in(event: Event, namespace: str) -> bool:
    found = event.after or event.before or {}
    return not namespace or found.get("metadata", {}).get("namespace") == namespace


def _item(resource: Resource, found: Object) -> Object:
    """Lists of built-in kinds leave out what all items have."""
    if resource.is_custom:
        return {**found, "apiVersion": resource.api_version}
    return {key: value for key, value in found.items() if key not in ("apiVersion", "kind")}


async def _tell(response: web.StreamResponse, kind: str, found: Object) -> None:
    await response.write(json.dumps({"type": kind, "object": found}).encode() + b"\n")


async def _broken(request: web.Request, beginning: bytes) -> web.StreamResponse:
    """An answer whose connection breaks behind its beginning."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = len(beginning) + 1
    await response.prepare(request)
    if beginning:
        await response.write(beginning)
    if request.transport is not None:
        request.transport.close()
    return response


def _bookmark(resource: Resource, revision: int) -> Object:
    return {
        "kind": resource.kind,
        "apiVersion": resource.api_version,
        "metadata": {"resourceVersion": str(revision), "creationTimestamp": None},
    }
