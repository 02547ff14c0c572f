"""What the API server double does as a real one does, asked through our own `Api`.

The same tests run against a real API server when `IPLEDGER_E2E_KUBECONFIG` names a kubeconfig of
it, so that the double cannot drift. Tests that need old versions to be forgotten also need
`IPLEDGER_E2E_ETCD`, the URL of its etcd.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from support.apiserver import ApiServer

from ipledger.projections.cluster.live.api import JSON_PATCH, MERGE_PATCH, Api, ApiError
from ipledger.projections.cluster.live.connect import connected

REAL = os.environ.get("IPLEDGER_E2E_KUBECONFIG", "")
ETCD = os.environ.get("IPLEDGER_E2E_ETCD", "")
WATCH_S = 6 if REAL else 1
GROUP = "contract.ipledger.io"
GADGETS = f"/apis/{GROUP}/v1/gadgets"
SILENCE_S = 60.0

Object = dict[str, Any]


@dataclass
class Cluster:
    """An API server, and a namespace of the test's own in it."""

    api: Api
    namespace: str
    double: ApiServer | None

    def path(self, plural: str, name: str = "", sub: str = "") -> str:
        """The path of core objects in the namespace."""
        parts = ("/api/v1/namespaces", self.namespace, plural, name, sub)
        return "/".join(part for part in parts if part)

    async def call(
        self, method: str, path: str, body: Any = None, kind: str = "application/json", **query: Any
    ) -> Object:
        """A call's answer."""
        words = {key.removesuffix("_"): str(value) for key, value in query.items()}
        answer = await self.api.call(method, path, body, query=words, content_type=kind)
        found: Object = json.loads(answer)
        return found

    async def create(self, plural: str, name: str, **rest: Any) -> Object:
        """Create a core object."""
        return await self.call("POST", self.path(plural), named(name, **rest))

    async def pod(self, name: str, node: str = "", **metadata: Any) -> Object:
        """A pod on a node that is not there, so that nobody starts it."""
        spec: Object = {"containers": [{"name": "c", "image": "none.test/none:1"}]}
        if node:
            spec["nodeName"] = node
        spec["automountServiceAccountToken"] = False
        return await self.create("pods", name, metadata=metadata, spec=spec)

    async def let_pods_in(self) -> None:
        """Make what a real API server wants to be there before a pod; a controller may be first."""
        with contextlib.suppress(ApiError):
            await self.create("serviceaccounts", "default")

    async def forget(self) -> None:
        """Forget all versions but the present."""
        if self.double is not None:
            self.double.store.compact()
            return
        if not ETCD:
            pytest.skip("IPLEDGER_E2E_ETCD is not set")
        async with aiohttp.ClientSession() as session:
            status = await (await session.post(f"{ETCD}/v3/maintenance/status", json={})).json()
            body = {"revision": status["header"]["revision"], "physical": True}
            await session.post(f"{ETCD}/v3/kv/compaction", json=body)

    @contextlib.asynccontextmanager
    async def watch(
        self, path: str, version: str, **query: Any
    ) -> AsyncGenerator[AsyncIterator[Any]]:
        """The events of a watch."""
        words = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "30"}
        words |= {key: str(value) for key, value in query.items()}
        async with self.api.stream(path, words, SILENCE_S) as lines:
            yield (json.loads(line) async for line in lines)


def named(name: str, **rest: Any) -> Object:
    return {**rest, "metadata": {**rest.get("metadata", {}), "name": name}}


def version_of(found: Object) -> str:
    return str(found["metadata"]["resourceVersion"])


def names(found: Object) -> list[str]:
    return [item["metadata"]["name"] for item in found["items"]]


@contextlib.contextmanager
def refused(status: int, reason: str, name: str = "") -> Any:
    with pytest.raises(ApiError) as caught:
        yield
    assert (caught.value.status, caught.value.reason) == (status, reason)
    assert caught.value.name == name or not name


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """The double, or the real API server; with a namespace that is deleted behind the test."""
    async with contextlib.AsyncExitStack() as stack:
        double = None
        if not REAL:
            double = ApiServer()
            await double.start()
            stack.push_async_callback(double.stop)
        kubeconfig = Path(REAL) if double is None else double.kubeconfig(tmp_path)
        api = await stack.enter_async_context(connected(kubeconfig))
        cluster = Cluster(api, f"contract-{uuid.uuid4().hex[:8]}", double)
        await cluster.call("POST", "/api/v1/namespaces", named(cluster.namespace))
        if double is None:
            await cluster.let_pods_in()
        yield cluster
        await cluster.call("DELETE", f"/api/v1/namespaces/{cluster.namespace}")


@pytest_asyncio.fixture
async def gadgets(cluster: Cluster) -> AsyncIterator[str]:
    """The path of a custom resource with a status, of the test's own."""
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version: Object = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }
    spec: Object = {
        "group": GROUP,
        "scope": "Cluster",
        "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget"},
        "versions": [version],
    }
    name = f"gadgets.{GROUP}"
    await cluster.call("POST", definitions, named(name, spec=spec))
    await _until_served(cluster, served=True)
    yield GADGETS
    await cluster.call("DELETE", f"{definitions}/{name}")
    await _until_served(cluster, served=False)


async def _until_served(cluster: Cluster, *, served: bool) -> None:
    """A real server does as a definition says a little later, and tells nobody when."""
    async with asyncio.timeout(30):
        while await _is_served(cluster) != served:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def _is_served(cluster: Cluster) -> bool:
    try:
        await cluster.call("GET", GADGETS)
    except ApiError:
        return False
    return True


def gadget(name: str, **rest: Any) -> Object:
    return {"apiVersion": f"{GROUP}/v1", "kind": "Gadget", **named(name, **rest)}


# Objects.


async def test_a_created_object_has_uid_version_and_time(cluster: Cluster) -> None:
    made = await cluster.create("configmaps", "one", data={"a": "1"})
    metadata = made["metadata"]
    assert metadata["uid"]
    assert metadata["resourceVersion"].isdecimal()
    assert metadata["creationTimestamp"].endswith("Z")
    assert metadata["namespace"] == cluster.namespace
    assert await cluster.call("GET", cluster.path("configmaps", "one")) == made


async def test_a_name_is_generated(cluster: Cluster) -> None:
    body = {"metadata": {"generateName": "made-"}}
    first = await cluster.call("POST", cluster.path("configmaps"), body)
    second = await cluster.call("POST", cluster.path("configmaps"), body)
    assert first["metadata"]["name"].startswith("made-")
    assert first["metadata"]["name"] != second["metadata"]["name"]


async def test_a_name_that_is_taken_is_refused(cluster: Cluster) -> None:
    await cluster.create("configmaps", "one")
    with refused(409, "AlreadyExists"):
        await cluster.create("configmaps", "one")


async def test_a_namespace_that_is_not_there_is_refused(cluster: Cluster) -> None:
    with refused(404, "NotFound"):
        await cluster.call("POST", "/api/v1/namespaces/nowhere/configmaps", named("one"))


async def test_a_version_is_not_accepted_in_a_new_object(cluster: Cluster) -> None:
    with pytest.raises(ApiError):
        await cluster.create("configmaps", "one", metadata={"resourceVersion": "7"})


async def test_what_is_not_there_is_not_found(cluster: Cluster) -> None:
    with refused(404, "NotFound", "none"):
        await cluster.call("GET", cluster.path("configmaps", "none"))
    with refused(404, "NotFound", "none"):
        await cluster.call("DELETE", cluster.path("configmaps", "none"))
    with refused(404, "NotFound", "none"):
        await cluster.call("PATCH", cluster.path("configmaps", "none"), {}, MERGE_PATCH)


async def test_a_stale_version_conflicts_and_changes_nothing(cluster: Cluster) -> None:
    made = await cluster.create("configmaps", "one", data={"a": "1"})
    path = cluster.path("configmaps", "one")
    changed = await cluster.call("PUT", path, {**made, "data": {"a": "2"}})
    assert int(version_of(changed)) > int(version_of(made))
    with refused(409, "Conflict"):
        await cluster.call("PUT", path, {**made, "data": {"a": "3"}})
    assert (await cluster.call("GET", path))["data"] == {"a": "2"}


async def test_a_write_that_changes_nothing_keeps_the_version(cluster: Cluster) -> None:
    made = await cluster.create("configmaps", "one", data={"a": "1"})
    path = cluster.path("configmaps", "one")
    same = await cluster.call("PATCH", path, {"data": {"a": "1"}}, MERGE_PATCH)
    assert version_of(same) == version_of(made)


async def test_a_merge_patch_sets_and_removes(cluster: Cluster) -> None:
    await cluster.create("configmaps", "one", data={"a": "1", "b": "2"})
    patch = {"data": {"a": None, "c": "3"}, "metadata": {"labels": {"x": "y"}}}
    found = await cluster.call("PATCH", cluster.path("configmaps", "one"), patch, MERGE_PATCH)
    assert found["data"] == {"b": "2", "c": "3"}
    assert found["metadata"]["labels"] == {"x": "y"}


async def test_a_merge_patch_with_a_stale_version_conflicts(cluster: Cluster) -> None:
    made = await cluster.create("configmaps", "one")
    path = cluster.path("configmaps", "one")
    await cluster.call("PATCH", path, {"data": {"a": "1"}}, MERGE_PATCH)
    patch = {"metadata": {"resourceVersion": version_of(made)}, "data": {"a": "2"}}
    with refused(409, "Conflict"):
        await cluster.call("PATCH", path, patch, MERGE_PATCH)


async def test_a_json_patch_tests_before_it_writes(cluster: Cluster) -> None:
    await cluster.create("configmaps", "one", data={"a": "1"})
    path = cluster.path("configmaps", "one")
    test = {"op": "test", "path": "/data/a", "value": "1"}
    write = {"op": "replace", "path": "/data/a", "value": "2"}
    found = await cluster.call("PATCH", path, [test, write], JSON_PATCH)
    assert found["data"] == {"a": "2"}
    with pytest.raises(ApiError) as caught:
        await cluster.call("PATCH", path, [test, write], JSON_PATCH)
    assert caught.value.status == 422


async def test_the_status_is_written_apart_from_the_rest(cluster: Cluster, gadgets: str) -> None:
    made = await cluster.call("POST", gadgets, gadget("one", spec={"n": 1}, status={"n": 1}))
    assert "status" not in made
    path = f"{gadgets}/one"
    patch = {"spec": {"n": 2}, "status": {"n": 2}}
    told = await cluster.call("PATCH", f"{path}/status", patch, MERGE_PATCH)
    assert (told["spec"], told["status"]) == ({"n": 1}, {"n": 2})
    asked = await cluster.call("PATCH", path, {"spec": {"n": 3}, "status": {"n": 3}}, MERGE_PATCH)
    assert (asked["spec"], asked["status"]) == ({"n": 3}, {"n": 2})


async def test_the_generation_counts_changes_of_the_specification(
    cluster: Cluster, gadgets: str
) -> None:
    made = await cluster.call("POST", gadgets, gadget("one", spec={"n": 1}))
    assert made["metadata"]["generation"] == 1
    path = f"{gadgets}/one"
    told = await cluster.call("PATCH", f"{path}/status", {"status": {"n": 2}}, MERGE_PATCH)
    assert told["metadata"]["generation"] == 1
    asked = await cluster.call("PATCH", path, {"spec": {"n": 2}}, MERGE_PATCH)
    assert asked["metadata"]["generation"] == 2


async def test_a_custom_object_is_replaced_only_by_version(cluster: Cluster, gadgets: str) -> None:
    await cluster.call("POST", gadgets, gadget("one"))
    with refused(422, "Invalid"):
        await cluster.call("PUT", f"{gadgets}/one", gadget("one", spec={"n": 2}))


async def test_an_event_can_be_told(cluster: Cluster) -> None:
    made = await tell(cluster)
    assert made["reason"] == "Refused"
    assert made["involvedObject"]["name"] == "web"


async def tell(cluster: Cluster) -> Object:
    """Create an Event."""
    about = {"kind": "Pod", "namespace": cluster.namespace, "name": "web", "uid": "u1"}
    body = {
        "metadata": {"generateName": "web."},
        "involvedObject": about,
        "reason": "Refused",
        "message": "no pool",
        "type": "Warning",
        "count": 1,
        "firstTimestamp": "2026-11-22T12:00:00Z",
        "lastTimestamp": "2026-11-22T12:00:00Z",
        "source": {"component": "ipledger"},
    }
    return await cluster.call("POST", cluster.path("events"), body)


# Deletion.


async def test_a_deleted_object_is_gone(cluster: Cluster) -> None:
    made = await cluster.create("configmaps", "one")
    path = cluster.path("configmaps", "one")
    wrong = {"preconditions": {"uid": "another"}}
    with refused(409, "Conflict"):
        await cluster.call("DELETE", path, wrong)
    await cluster.call("DELETE", path, {"preconditions": {"uid": made["metadata"]["uid"]}})
    with refused(404, "NotFound"):
        await cluster.call("GET", path)


async def test_a_finalizer_keeps_an_object_until_it_is_taken_away(
    cluster: Cluster, gadgets: str
) -> None:
    body = gadget("one", metadata={"finalizers": ["ipledger.io/held"]})
    made = await cluster.call("POST", gadgets, body)
    path = f"{gadgets}/one"
    await cluster.call("DELETE", path)
    held = await cluster.call("GET", path)
    assert held["metadata"]["deletionTimestamp"]
    assert held["metadata"]["uid"] == made["metadata"]["uid"]
    await cluster.call("PATCH", path, {"metadata": {"finalizers": []}}, MERGE_PATCH)
    with refused(404, "NotFound"):
        await cluster.call("GET", path)


async def test_a_pod_on_a_node_is_given_its_grace(cluster: Cluster) -> None:
    await cluster.pod("web", node="nowhere")
    path = cluster.path("pods", "web")
    await cluster.call("DELETE", path, {"gracePeriodSeconds": 600})
    found = await cluster.call("GET", path)
    assert found["metadata"]["deletionGracePeriodSeconds"] == 600
    assert found["metadata"]["deletionTimestamp"] > found["metadata"]["creationTimestamp"]
    await cluster.call("DELETE", path, {"gracePeriodSeconds": 0})
    with refused(404, "NotFound"):
        await cluster.call("GET", path)


async def test_a_pod_begins_pending_with_defaults(cluster: Cluster) -> None:
    made = await cluster.pod("web", node="nowhere")
    assert made["status"]["phase"] == "Pending"
    assert made["spec"]["restartPolicy"] == "Always"
    assert made["spec"]["terminationGracePeriodSeconds"] == 30


# Lists.


async def filled(cluster: Cluster, count: int = 5) -> str:
    """Pods web-0 and so on, of which every other one is on node-a; the path of all."""
    for number in range(count):
        node = "node-a" if number % 2 == 0 else "node-b"
        labels = {"number": str(number), "parity": "odd" if number % 2 else "even"}
        await cluster.pod(f"web-{number}", node=f"{cluster.namespace}-{node}", labels=labels)
    return cluster.path("pods")


async def test_a_list_is_cut_into_parts_that_are_of_one_moment(cluster: Cluster) -> None:
    path = await filled(cluster)
    first = await cluster.call("GET", path, limit=2)
    assert names(first) == ["web-0", "web-1"]
    await cluster.call("DELETE", cluster.path("pods", "web-2"), {"gracePeriodSeconds": 0})
    second = await cluster.call("GET", path, limit=2, continue_=first["metadata"]["continue"])
    assert names(second) == ["web-2", "web-3"]
    assert version_of(second) == version_of(first)
    last = await cluster.call("GET", path, limit=2, continue_=second["metadata"]["continue"])
    assert names(last) == ["web-4"]
    assert not last["metadata"].get("continue")


async def test_a_part_of_a_forgotten_moment_is_expired(cluster: Cluster) -> None:
    path = await filled(cluster)
    first = await cluster.call("GET", path, limit=2)
    await cluster.pod("late")
    await cluster.forget()
    with refused(410, "Expired"):
        await cluster.call("GET", path, limit=2, continue_=first["metadata"]["continue"])


async def test_items_of_a_list_leave_out_what_all_have(cluster: Cluster, gadgets: str) -> None:
    found = await cluster.call("GET", await filled(cluster, 1))
    assert (found["kind"], found["apiVersion"]) == ("PodList", "v1")
    assert "kind" not in found["items"][0]
    await cluster.call("POST", gadgets, gadget("one"))
    assert (await cluster.call("GET", gadgets))["items"][0]["kind"] == "Gadget"


async def test_a_list_from_the_cache_is_not_older_than_asked(
    cluster: Cluster, gadgets: str
) -> None:
    made = await cluster.call("POST", gadgets, gadget("one"))
    found = await cluster.call("GET", gadgets, resourceVersion=version_of(made))
    assert names(found) == ["one"]
    assert int(version_of(found)) >= int(version_of(made))
    assert names(await cluster.call("GET", gadgets, resourceVersion="0")) == ["one"]


async def test_a_cache_does_not_come_to_a_version_of_other_kinds(
    cluster: Cluster, gadgets: str
) -> None:
    """Its version is that of its kind's last change. A list from etcd has the version of all kinds,
    and who then asks the cache for as much waits in vain, until the kind changes."""
    await cluster.call("POST", gadgets, gadget("one"))
    await cluster.create("configmaps", "other")
    version = version_of(await cluster.call("GET", gadgets))
    with pytest.raises(ApiError, match="Too large resource version") as caught:
        await cluster.call("GET", gadgets, resourceVersion=version)
    assert (caught.value.status, caught.value.reason) == (504, "Timeout")
    assert caught.value.retry_after_s == 1
    assert names(await cluster.call("GET", gadgets)) == ["one"]
    await cluster.call("POST", gadgets, gadget("two"))
    cached = names(await cluster.call("GET", gadgets, resourceVersion=version))
    assert set(cached) == {"one", "two"}  # a cache has no order


async def test_a_list_waits_for_the_cache(cluster: Cluster, gadgets: str) -> None:
    made = await cluster.call("POST", gadgets, gadget("one"))
    later = int(version_of(made)) + 1
    asked = asyncio.create_task(cluster.call("GET", gadgets, resourceVersion=later))
    await cluster.call("POST", gadgets, gadget("two"))
    assert set(names(await asked)) == {"one", "two"}


async def test_a_list_of_a_version_to_come_is_refused(cluster: Cluster) -> None:
    version = int(version_of(await cluster.call("GET", cluster.path("pods")))) + 1_000_000
    with refused(504, "Timeout"):
        await cluster.call("GET", cluster.path("pods"), resourceVersion=version)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"fieldSelector": "spec.nodeName={}-node-a"}, ["web-0", "web-2", "web-4"]),
        ({"fieldSelector": "spec.nodeName!={}-node-a"}, ["web-1", "web-3"]),
        ({"fieldSelector": "metadata.name=web-3"}, ["web-3"]),
        ({"labelSelector": "parity=odd"}, ["web-1", "web-3"]),
        ({"labelSelector": "parity!=odd,number!=0"}, ["web-2", "web-4"]),
        ({"labelSelector": "number in (1, 4)"}, ["web-1", "web-4"]),
        ({"labelSelector": "number notin (1,2,3)"}, ["web-0", "web-4"]),
        ({"labelSelector": "number,!absent"}, [f"web-{number}" for number in range(5)]),
        ({"labelSelector": "absent"}, []),
        (
            {"labelSelector": "parity=even", "fieldSelector": "spec.nodeName={}-node-b"},
            [],
        ),
    ],
)
async def test_selectors_select(cluster: Cluster, query: dict[str, str], found: list[str]) -> None:
    path = await filled(cluster)
    asked = {key: value.format(cluster.namespace) for key, value in query.items()}
    assert names(await cluster.call("GET", path, **asked)) == found
    everywhere = await cluster.call("GET", "/api/v1/pods", **asked)
    here = [i for i in everywhere["items"] if i["metadata"]["namespace"] == cluster.namespace]
    assert names({"items": here}) == found


async def test_a_field_that_cannot_be_selected_is_refused(cluster: Cluster) -> None:
    with refused(400, "BadRequest"):
        await cluster.call("GET", cluster.path("pods"), fieldSelector="spec.hostname=x")


# Watches.


async def event(events: AsyncIterator[Any]) -> tuple[str, Object]:
    async with asyncio.timeout(SILENCE_S):
        told = await anext(events)
    return told["type"], told["object"]


async def test_a_watch_tells_each_change_from_a_version_on(cluster: Cluster) -> None:
    await cluster.create("configmaps", "before", metadata={"labels": {"mine": "yes"}})
    path = cluster.path("configmaps")
    start = version_of(await cluster.call("GET", path))
    one = cluster.path("configmaps", "one")
    await cluster.create("configmaps", "one", metadata={"labels": {"mine": "yes"}})
    async with cluster.watch(path, start, labelSelector="mine=yes") as events:
        kind, added = await event(events)
        assert (kind, added["metadata"]["name"]) == ("ADDED", "one")
        await cluster.call("PATCH", one, {"data": {"a": "1"}}, MERGE_PATCH)
        kind, changed = await event(events)
        assert (kind, changed["data"]) == ("MODIFIED", {"a": "1"})
        await cluster.call("DELETE", one)
        kind, gone = await event(events)
        assert (kind, gone["data"]) == ("DELETED", {"a": "1"})
        versions = [int(version_of(found)) for found in (added, changed, gone)]
        assert versions == sorted(set(versions))


async def test_a_watch_without_a_version_begins_with_what_is_there(cluster: Cluster) -> None:
    await cluster.create("configmaps", "one", metadata={"labels": {"mine": "yes"}})
    path = cluster.path("configmaps")
    async with cluster.watch(path, "0", labelSelector="mine=yes") as events:
        kind, found = await event(events)
        assert (kind, found["metadata"]["name"]) == ("ADDED", "one")


async def test_what_comes_into_and_leaves_a_selection_is_added_and_deleted(
    cluster: Cluster,
) -> None:
    path = cluster.path("configmaps")
    one = cluster.path("configmaps", "one")
    start = version_of(await cluster.create("configmaps", "one"))
    async with cluster.watch(path, start, labelSelector="mine=yes") as events:
        await cluster.call("PATCH", one, {"metadata": {"labels": {"mine": "yes"}}}, MERGE_PATCH)
        assert (await event(events))[0] == "ADDED"
        changed = await cluster.call(
            "PATCH", one, {"metadata": {"labels": {"mine": None}}}, MERGE_PATCH
        )
        kind, gone = await event(events)
        assert kind == "DELETED"
        assert version_of(gone) == version_of(changed)


async def test_a_pod_that_is_being_deleted_is_modified_then_deleted(cluster: Cluster) -> None:
    start = version_of(await cluster.pod("web", node="nowhere"))
    path = cluster.path("pods")
    fields = {"fieldSelector": "spec.nodeName=nowhere"}
    async with cluster.watch(path, start, **fields) as events:
        await cluster.call("DELETE", cluster.path("pods", "web"), {"gracePeriodSeconds": 600})
        kind, found = await event(events)
        assert kind == "MODIFIED"
        assert found["metadata"]["deletionTimestamp"]
        await cluster.call("DELETE", cluster.path("pods", "web"), {"gracePeriodSeconds": 0})
        kind, found = await event(events)
        while kind == "MODIFIED":  # a real one sets the grace to 0 first
            kind, found = await event(events)
        assert kind == "DELETED"


async def test_bookmarks_tell_the_version_before_a_watch_ends(cluster: Cluster) -> None:
    path = cluster.path("configmaps")
    start = version_of(await cluster.call("GET", path))
    query = {"timeoutSeconds": WATCH_S, "allowWatchBookmarks": "true", "labelSelector": "mine=yes"}
    async with cluster.watch(path, start, **query) as events:
        made = await cluster.create("configmaps", "other")  # moves the version, and is not told
        told = [one async for one in events]
    assert [one["type"] for one in told] == ["BOOKMARK"] * len(told)
    assert told[-1]["object"]["kind"] == "ConfigMap"
    assert int(version_of(told[-1]["object"])) >= int(version_of(made))


async def test_a_watch_of_a_kind_that_does_not_change_has_no_bookmarks(
    cluster: Cluster, gadgets: str
) -> None:
    """Of a kind that nobody else has: each new namespace brings a ConfigMap."""
    start = version_of(await cluster.call("POST", gadgets, gadget("one")))
    query = {"timeoutSeconds": WATCH_S, "allowWatchBookmarks": "true", "labelSelector": "mine=yes"}
    async with cluster.watch(gadgets, start, **query) as events:
        assert [one async for one in events] == []


async def test_a_watch_ends_when_its_time_is_up(cluster: Cluster) -> None:
    path = cluster.path("configmaps")
    start = version_of(await cluster.call("GET", path))
    async with cluster.watch(path, start, timeoutSeconds=1, labelSelector="mine=yes") as events:
        assert [one async for one in events] == []


async def test_a_watch_from_a_forgotten_version_is_expired(cluster: Cluster) -> None:
    """Of Events, which a real server has no cache of: that would know more than etcd."""
    path = cluster.path("events")
    start = version_of(await cluster.call("GET", path))
    await tell(cluster)
    await tell(cluster)
    await cluster.forget()
    async with cluster.watch(path, start) as events:
        kind, status = await event(events)
    assert (kind, status["code"], status["reason"]) == ("ERROR", 410, "Expired")
