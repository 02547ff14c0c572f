"""What a node's view of the cluster makes of an ADD, against an API server double."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from multidict import CIMultiDict
from support.apiserver import ApiServer, Fault
from support.apiserver.errors import StatusError
from support.permissions import documented_calls

from ipledger.cni.cluster_view import ClusterView, cluster_view
from ipledger.cni.errors import CniError, Code
from ipledger.cni.inputs import PodInputs
from ipledger.cni.owners import Owners
from ipledger.cni.request import CniRequest, parse
from ipledger.events.facts import Owner, Pod
from ipledger.projections.cluster.kinds import PODS
from ipledger.projections.cluster.live.api import Api
from ipledger.projections.cluster.live.connect import connected

POOL = "ipam.spidernet.io/ippool"
SUBNET = "ipam.spidernet.io/subnet"
NETWORKS = "k8s.v1.cni.cncf.io/networks"
WANTS_SUBNET = {SUBNET: '{"ipv4":["blue"]}'}


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ApiServer]:
    """A cluster with the node n1 and the namespace shop."""
    server = ApiServer()
    await server.start()
    server.create("v1", "nodes", {"metadata": {"name": "n1", "labels": {"rack": "r1"}}})
    annotations = {"ipam.spidernet.io/default-ipv4-ippool": '["blue"]', "owner/note": "x"}
    shop = {"name": "shop", "labels": {"env": "prod"}, "annotations": annotations}
    server.create("v1", "namespaces", {"metadata": shop})
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def api(server: ApiServer, tmp_path: Path) -> AsyncIterator[Api]:
    async with connected(server.kubeconfig(tmp_path)) as api:
        yield api


@pytest_asyncio.fixture
async def view(api: Api) -> AsyncIterator[ClusterView]:
    """A view that does not watch: all it knows, it asks."""
    view = ClusterView(api, "n1", lambda: 0.0, patience_s=30)
    yield view
    await view.close()


@contextlib.asynccontextmanager
async def watching(view: ClusterView, server: ApiServer) -> AsyncGenerator[None]:
    """The view watches, and has heard what there is."""
    running = asyncio.create_task(view.run())
    await server.until_watched(3)
    yield
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def pod(
    server: ApiServer, name: str = "web-0", node: str = "n1", owner: Any = None, **metadata: Any
) -> str:
    """Create a pod and return its UID."""
    if owner is not None:
        metadata["ownerReferences"] = [owner]
    body = {"metadata": {**metadata, "name": name}, "spec": {"nodeName": node}}
    uid: str = server.create("v1", "pods", body, "shop")["metadata"]["uid"]
    return uid


def owner(made: dict[str, Any]) -> dict[str, Any]:
    """A reference to the controller that an object is."""
    metadata = made["metadata"]
    names = {"name": metadata["name"], "uid": metadata["uid"], "controller": True}
    return {"apiVersion": made["apiVersion"], "kind": made["kind"], **names}


def owned(
    server: ApiServer, version: str, plural: str, name: str, by: Any = None, **rest: Any
) -> Any:
    """Create a workload, and return a reference to it."""
    metadata = {"name": name, "ownerReferences": [by] if by else []}
    return owner(server.create(version, plural, {**rest, "metadata": metadata}, "shop"))


def add(uid: str = "", name: str = "web-0", interface: str = "eth0", **config: Any) -> CniRequest:
    """An ADD as containerd sends it for a pod in the namespace shop."""
    args = f"IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME={name}"
    headers = {
        "Cni-Command": "ADD",
        "Cni-Containerid": "sandbox-1",
        "Cni-Netns": "/var/run/netns/x",
        "Cni-Ifname": interface,
        "Cni-Args": f"{args};K8S_POD_UID={uid}" if uid else args,
    }
    body = {"cniVersion": "1.0.0", "name": "net", **config}
    return parse(CIMultiDict(headers), json.dumps(body).encode())


async def refused(view: ClusterView, request: CniRequest) -> CniError:
    with pytest.raises(CniError) as caught:
        await view.completed(request)
    return caught.value


async def inputs(view: ClusterView, request: CniRequest) -> PodInputs:
    return (await view.completed(request)).inputs


# What an ADD is given.


async def test_an_add_is_given_what_the_cluster_knows(server: ApiServer, view: ClusterView) -> None:
    note = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    uid = pod(server, labels={"app": "web"}, annotations={POOL: '{"ipv4":["gold"]}', **note})
    completed = await view.completed(add(uid))
    assert completed.pod == Pod("shop", "web-0", uid)
    assert completed.inputs == PodInputs(
        labels={"app": "web"},
        annotations={POOL: '{"ipv4":["gold"]}'},
        namespace_labels={"env": "prod"},
        namespace_annotations={"ipam.spidernet.io/default-ipv4-ippool": '["blue"]'},
        node_labels={"rack": "r1"},
    )


async def test_what_is_watched_is_not_asked_for(server: ApiServer, view: ClusterView) -> None:
    uid = pod(server, labels={"app": "web"})
    async with watching(view, server):
        completed = await inputs(view, add(uid))
    assert completed.labels == {"app": "web"}
    assert completed.node_labels == {"rack": "r1"}
    assert [call for call in server.calls if call.verb == "get"] == []


async def test_a_pod_that_is_not_in_the_watch_yet_is_asked_for(
    server: ApiServer, view: ClusterView
) -> None:
    gate = asyncio.Event()
    server.faults = [Fault("watch", "pods", gate=gate)]
    running = asyncio.create_task(view.run())
    await server.until_watched(2)
    uid = pod(server, labels={"app": "web"})
    assert (await inputs(view, add(uid))).labels == {"app": "web"}
    assert server.count("get", "pods") == 1
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_pod_made_again_under_its_name_is_asked_for(
    server: ApiServer, view: ClusterView
) -> None:
    pod(server, labels={"version": "old"})
    async with watching(view, server):
        server.faults = [Fault("watch", gate=asyncio.Event(), times=99)]
        server.drop_watches()
        await server.until_watched(0)
        server.delete("pods", "web-0", "shop")
        uid = pod(server, labels={"version": "new"})
        assert (await inputs(view, add(uid))).labels == {"version": "new"}


async def test_without_a_uid_from_the_runtime_the_api_servers_holds(
    server: ApiServer, view: ClusterView
) -> None:
    uid = pod(server)
    async with watching(view, server):
        completed = await view.completed(add())
    assert completed.pod.uid == uid
    assert server.count("get", "pods") == 1  # the watch may still have an earlier one


async def test_a_static_pod_keeps_the_uid_of_its_kubelet(
    server: ApiServer, view: ClusterView
) -> None:
    pod(server, annotations={"kubernetes.io/config.mirror": "abc123"})
    completed = await view.completed(add("abc123"))
    assert completed.pod.uid == "abc123"
    assert completed.inputs.annotations == {}


async def test_a_container_of_another_runtime_is_let_pass(
    server: ApiServer, view: ClusterView
) -> None:
    headers = {
        "Cni-Command": "ADD",
        "Cni-Containerid": "c1",
        "Cni-Netns": "/x",
        "Cni-Ifname": "eth0",
        "Cni-Args": "IgnoreUnknown=1;K8S_POD_NAME=podman-container",
    }
    request = parse(CIMultiDict(headers), b'{"cniVersion":"1.0.0"}')
    assert await view.completed(request) is request
    assert server.calls == []


# Who is believed.


async def test_the_cluster_is_believed_over_the_network_configuration(
    server: ApiServer, view: ClusterView
) -> None:
    uid = pod(server, labels={"app": "web"}, annotations={POOL: '{"ipv4":["mine"]}'})
    forged = {
        "owner": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "bank"},
        "replicas": 99,
        "labels": {"app": "bank"},
        "annotations": {POOL: '{"ipv4":["bank"]}', "ipledger.io/static-ip": "10.0.0.9"},
        "namespaceLabels": {"env": "bank"},
        "namespaceAnnotations": {"ipam.spidernet.io/default-ipv4-ippool": '["bank"]'},
        "nodeLabels": {"rack": "bank"},
    }
    found = await inputs(view, add(uid, args={"cni": forged}))
    assert (found.owner, found.replicas, found.labels) == (None, None, {"app": "web"})
    assert found.namespace_labels == {"env": "prod"}
    assert found.namespace_annotations == {"ipam.spidernet.io/default-ipv4-ippool": '["blue"]'}
    assert found.node_labels == {"rack": "r1"}
    # Annotations that the pod has not are added: who writes them could write the pod's as well.
    assert found.annotations == {POOL: '{"ipv4":["mine"]}', "ipledger.io/static-ip": "10.0.0.9"}


async def test_the_network_of_an_interface_is_what_the_pods_annotation_says(
    server: ApiServer, view: ClusterView
) -> None:
    uid = pod(server, annotations={NETWORKS: "vlan7, nets/vlan8@data"})
    stated = {"cni": {"network": "nets/main"}}
    networks = {"net1": "shop/vlan7", "data": "nets/vlan8", "eth0": "nets/main"}
    for interface, network in networks.items():
        found = await inputs(view, add(uid, interface=interface, args=stated))
        assert found.network_name == network
    assert (await inputs(view, add(uid))).network_name == ""


# Who is refused.


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"status": {"phase": "Failed", "reason": "Evicted"}}, "it was evicted"),
        ({"status": {"phase": "Succeeded"}, "spec": {"restartPolicy": "Never"}}, "succeeded"),
    ],
)
async def test_a_pod_that_has_ended_is_refused_and_it_is_said_why(
    server: ApiServer, view: ClusterView, change: dict[str, Any], why: str
) -> None:
    uid = pod(server)
    server.change("pods", "web-0", "shop", **change)
    error = await refused(view, add(uid))
    assert error.code == Code.POD_NOT_ALIVE
    assert "pod shop/web-0 gets no address" in str(error)
    assert why in str(error)


async def test_a_pod_that_is_being_deleted_is_refused(server: ApiServer, view: ClusterView) -> None:
    uid = pod(server, finalizers=["ipledger.io/wait"])
    server.delete("pods", "web-0", "shop")
    error = await refused(view, add(uid))
    assert error.code == Code.POD_NOT_ALIVE
    assert "it is being deleted since" in str(error)


async def test_a_pod_that_does_not_exist_is_refused(view: ClusterView) -> None:
    error = await refused(view, add("u1"))
    assert error.code == Code.POD_UNKNOWN
    assert "it does not exist" in str(error)


async def test_a_pod_that_was_replaced_is_refused(server: ApiServer, view: ClusterView) -> None:
    uid = pod(server)
    error = await refused(view, add("earlier"))
    assert error.code == Code.POD_UNKNOWN
    assert f"it has UID {uid}, not earlier" in str(error)


async def test_a_pod_of_another_node_is_refused(server: ApiServer, view: ClusterView) -> None:
    pod(server, node="n2")
    error = await refused(view, add())
    assert error.code == Code.POD_UNKNOWN
    assert "it is on node n2, not on n1" in str(error)


async def test_a_name_that_no_pod_can_have_is_refused_unasked(
    server: ApiServer, view: ClusterView
) -> None:
    error = await refused(view, add("u1", name="../../../nodes/n1"))
    assert error.code == Code.POD_UNKNOWN
    assert server.calls == []


async def test_a_node_that_is_not_registered_is_told_to_try_again(
    server: ApiServer, view: ClusterView
) -> None:
    uid = pod(server)
    server.delete("nodes", "n1")
    error = await refused(view, add(uid))
    assert error.code == Code.TRY_AGAIN_LATER
    assert "node n1" in str(error)


# An API server in trouble.


@pytest.mark.parametrize("reason", ["InternalError", "TooManyRequests", "Forbidden"])
async def test_a_passing_error_is_waited_out(
    server: ApiServer, view: ClusterView, reason: str
) -> None:
    uid = pod(server, labels={"app": "web"})
    server.faults = [Fault("get", times=3, error=StatusError(reason, "not now"))]
    assert (await inputs(view, add(uid))).labels == {"app": "web"}


@pytest.mark.parametrize("away", [False, True])
async def test_without_an_answer_in_time_the_runtime_is_told_to_try_again(
    server: ApiServer, api: Api, *, away: bool
) -> None:
    view = ClusterView(api, "n1", lambda: 0.0, patience_s=0.2)
    uid = pod(server)
    if away:
        await server.stop()
    else:
        server.faults = [Fault("get", times=99, gate=asyncio.Event())]
    error = await refused(view, add(uid))
    assert error.code == Code.TRY_AGAIN_LATER
    assert str(error) == "pod shop/web-0: no answer of the API server in 0.2 s"
    assert ("Cannot connect" in error.details) == away


async def test_a_pod_in_the_watch_needs_no_api_server(server: ApiServer, view: ClusterView) -> None:
    uid = pod(server, labels={"app": "web"})
    async with watching(view, server):
        await server.stop()
        assert (await inputs(view, add(uid))).labels == {"app": "web"}


# Owners.


async def test_a_replica_set_leads_to_its_deployment(server: ApiServer, view: ClusterView) -> None:
    deployment = owned(server, "apps/v1", "deployments", "web", spec={"replicas": 3})
    replica_set = owned(
        server, "apps/v1", "replicasets", "web-abc", deployment, spec={"replicas": 2}
    )
    uid = pod(server, owner=replica_set, annotations=WANTS_SUBNET)
    found = await inputs(view, add(uid))
    assert found.owner == Owner("apps/v1", "Deployment", "web", deployment["uid"])
    assert found.replicas == 3


async def test_a_replica_set_by_itself_is_at_the_top(server: ApiServer, view: ClusterView) -> None:
    replica_set = owned(server, "apps/v1", "replicasets", "web", spec={"replicas": 2})
    uid = pod(server, owner=replica_set, annotations=WANTS_SUBNET)
    found = await inputs(view, add(uid))
    assert found.owner == Owner("apps/v1", "ReplicaSet", "web", replica_set["uid"])
    assert found.replicas == 2


@pytest.mark.parametrize("version", ["batch/v1", "batch/v1beta1"])
async def test_a_job_leads_to_its_cron_job(
    server: ApiServer, view: ClusterView, version: str
) -> None:
    template = {"jobTemplate": {"spec": {"parallelism": 4}}}
    cron_job = owned(server, version, "cronjobs", "nightly", spec=template)
    job = owned(server, "batch/v1", "jobs", "nightly-1", cron_job, spec={"parallelism": 4})
    uid = pod(server, owner=job, annotations=WANTS_SUBNET)
    found = await inputs(view, add(uid))
    assert found.owner == Owner(version, "CronJob", "nightly", cron_job["uid"])
    assert found.replicas == 4


async def test_a_virtual_machines_instance_leads_to_its_machine(
    server: ApiServer, view: ClusterView
) -> None:
    version = "kubevirt.io/v1"
    server.define(version, "virtualmachines", "VirtualMachine")
    server.define(version, "virtualmachineinstances", "VirtualMachineInstance")
    machine = owned(server, version, "virtualmachines", "db")
    instance = owned(server, version, "virtualmachineinstances", "db", machine)
    uid = pod(server, owner=instance, annotations=WANTS_SUBNET)
    found = await inputs(view, add(uid))
    assert found.owner == Owner(version, "VirtualMachine", "db", machine["uid"])
    assert found.replicas == 1


@pytest.mark.parametrize(
    ("plural", "spec", "status", "replicas"),
    [
        ("statefulsets", {"replicas": 3}, {}, 3),
        ("daemonsets", {}, {"desiredNumberScheduled": 5}, 5),
    ],
)
async def test_other_controllers_are_at_the_top(
    server: ApiServer,
    view: ClusterView,
    plural: str,
    spec: dict[str, Any],
    status: dict[str, Any],
    replicas: int,
) -> None:
    controller = owned(server, "apps/v1", plural, "web", spec=spec)
    server.change(plural, "web", "shop", status=status)
    uid = pod(server, owner=controller, annotations=WANTS_SUBNET)
    found = await inputs(view, add(uid))
    assert found.owner == Owner("apps/v1", controller["kind"], "web", controller["uid"])
    assert found.replicas == replicas


async def test_a_third_partys_owner_is_taken_as_it_is_named(
    server: ApiServer, view: ClusterView
) -> None:
    kruise = {"apiVersion": "apps.kruise.io/v1", "kind": "StatefulSet", "name": "web", "uid": "k1"}
    uid = pod(server, owner={**kruise, "controller": True}, annotations=WANTS_SUBNET)
    found = await inputs(view, add(uid))
    assert found.owner == Owner("apps.kruise.io/v1", "StatefulSet", "web", "k1")
    assert found.replicas is None


async def test_a_replica_set_of_a_third_party_leads_to_it(
    server: ApiServer, view: ClusterView
) -> None:
    rollout = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web", "uid": "r1"}
    replica_set = owned(
        server, "apps/v1", "replicasets", "web-abc", {**rollout, "controller": True}
    )
    found = await inputs(view, add(pod(server, owner=replica_set)))
    assert found.owner == Owner("argoproj.io/v1alpha1", "Rollout", "web", "r1")


async def test_an_owner_that_is_gone_is_taken_as_it_was_named(
    server: ApiServer, view: ClusterView
) -> None:
    replica_set = owned(server, "apps/v1", "replicasets", "web")
    earlier = {**replica_set, "uid": "earlier"}
    found = await inputs(view, add(pod(server, owner=earlier, annotations=WANTS_SUBNET)))
    assert found.owner == Owner("apps/v1", "ReplicaSet", "web", "earlier")
    assert found.replicas is None


async def test_an_owner_whose_name_leads_elsewhere_is_not_followed(
    server: ApiServer, view: ClusterView
) -> None:
    forged = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "../../../x", "uid": "u"}
    found = await inputs(view, add(pod(server, owner={**forged, "controller": True})))
    assert found.owner == Owner("apps/v1", "ReplicaSet", "../../../x", "u")
    assert server.count("get", "replicasets") == 0


async def test_replicas_are_asked_for_only_by_a_pod_that_wants_an_auto_pool(
    server: ApiServer, view: ClusterView
) -> None:
    uid = pod(server, owner=owned(server, "apps/v1", "statefulsets", "web"))
    assert (await inputs(view, add(uid))).replicas is None
    assert server.count("get", "statefulsets") == 0


class Seconds:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_owners_are_remembered_for_a_while(server: ApiServer, api: Api) -> None:
    clock = Seconds()
    owners = Owners(api, clock)
    deployment = owned(server, "apps/v1", "deployments", "web", spec={"replicas": 1})
    replica_set = owned(server, "apps/v1", "replicasets", "web-abc", deployment)
    pod(server, owner=replica_set)
    known = await api.get(PODS, "web-0", "shop")
    for moment in (0.0, 2.0, 2.1, 60.0, 60.1):
        clock.now = moment
        await owners.top_of(known, with_replicas=False)
    assert server.count("get", "replicasets") == 2
    clock.now = 100
    assert (await owners.top_of(known, with_replicas=True))[1] == 1
    server.change("deployments", "web", "shop", spec={"replicas": 5})
    clock.now = 101
    assert (await owners.top_of(known, with_replicas=True))[1] == 1
    clock.now = 102.1
    assert (await owners.top_of(known, with_replicas=True))[1] == 5


async def test_many_who_ask_for_one_owner_make_one_call(server: ApiServer, api: Api) -> None:
    owners = Owners(api, Seconds())
    replica_set = owned(server, "apps/v1", "replicasets", "web")
    pod(server, owner=replica_set)
    known = await api.get(PODS, "web-0", "shop")
    gate = asyncio.Event()
    server.faults = [Fault("get", "replicasets", gate=gate)]
    asking = [asyncio.create_task(owners.top_of(known, with_replicas=False)) for _ in range(20)]
    await server.until(lambda s: s.count("get", "replicasets") == 1)
    asking[0].cancel()  # the others are still answered
    gate.set()
    answers = await asyncio.gather(*asking[1:])
    assert {owner.uid for owner, _ in answers if owner} == {replica_set["uid"]}
    assert server.count("get", "replicasets") == 1


async def test_remembered_owners_are_bounded_in_number(server: ApiServer, api: Api) -> None:
    owners = Owners(api, Seconds(), cached_max=2)
    for name in ("a", "b", "c", "a"):
        if name != "a" or not server.count("get", "replicasets"):
            pod(server, name, owner=owned(server, "apps/v1", "replicasets", name))
        await owners.top_of(await api.get(PODS, name, "shop"), with_replicas=False)
    assert server.count("get", "replicasets") == 4


# The whole.


async def test_a_view_is_made_from_a_kubeconfig_and_asks_only_what_is_documented(
    server: ApiServer, tmp_path: Path
) -> None:
    server.define("kubevirt.io/v1", "virtualmachines", "VirtualMachine")
    server.define("kubevirt.io/v1", "virtualmachineinstances", "VirtualMachineInstance")
    machine = owned(server, "kubevirt.io/v1", "virtualmachines", "db")
    cron_job = owned(server, "batch/v1", "cronjobs", "nightly")
    deployment = owned(server, "apps/v1", "deployments", "web")
    owners = [
        owned(server, "apps/v1", "statefulsets", "web"),
        owned(server, "apps/v1", "daemonsets", "web"),
        owned(server, "apps/v1", "replicasets", "web", deployment),
        owned(server, "batch/v1", "jobs", "nightly", cron_job),
        owned(server, "kubevirt.io/v1", "virtualmachineinstances", "db", machine),
    ]
    for number, one in enumerate(owners):
        pod(server, f"web-{number}", owner=one, annotations=WANTS_SUBNET)
    gate = asyncio.Event()
    server.faults = [Fault("list", times=3, gate=gate)]
    async with cluster_view(server.kubeconfig(tmp_path), "n1") as view:
        for number in range(len(owners)):
            await view.completed(add(name=f"web-{number}"))
        gate.set()
        await server.until_watched(3)
    page = Path(__file__).parents[2] / "docs/reference/kubernetes-agent.md"
    documented = documented_calls(page.read_text())
    assert {call.permission for call in server.calls} == documented


async def test_a_pod_is_over_when_it_is_gone_replaced_or_terminating(
    view: ClusterView, server: ApiServer
) -> None:
    uid = pod(server)
    assert not await view.has_ended(add(uid))
    assert await view.has_ended(add("another-uid"))
    assert await view.has_ended(add(uid, name="gone"))
    leaving = pod(server, "leaving", finalizers=["example.com/stay"])
    assert not await view.has_ended(add(leaving, name="leaving"))
    server.delete("pods", "leaving", "shop")
    assert await view.has_ended(add(leaving, name="leaving"))


async def test_a_pod_of_which_the_api_server_says_nothing_is_not_over(
    view: ClusterView, server: ApiServer
) -> None:
    uid = pod(server)
    await server.stop()
    assert not await view.has_ended(add(uid, name="gone"))
