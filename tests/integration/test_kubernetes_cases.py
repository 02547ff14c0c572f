"""What the objects of a cluster decide of an ADD, through the agents of two nodes.

An engine, the agents and a controller are processes; they serve all tests here, each of which has
pools of its own.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.apiserver import ApiServer, Fault
from support.apiserver.errors import StatusError
from support.kube import POOLS, SUBNETS, condition, holders, make, seen, server_thread, workload
from support.kube_nodes import WAIT_S, KubeNodes
from support.node import IPLEDGER, Outcome
from support.program import Program, until
from support.replicas import Replicas, replicas

from ipledger.events.embedded import EmbeddedServer
from ipledger.events.facts import Owner

ZONES = {"node-1": "east", "node-2": "west"}
TIERS = {"mall": "gold", "bank": "lead"}
IPPOOL, IPPOOLS = "ipam.spidernet.io/ippool", "ipam.spidernet.io/ippools"
SUBNET, NUMBER = "ipam.spidernet.io/subnet", "ipam.spidernet.io/ippool-ip-number"
KRUISE, KRUISE_BETA = "apps.kruise.io/v1alpha1", "apps.kruise.io/v1beta1"
RESOLVER = "127.0.53.53"
NETWORK = "v1.multus-cni.io/default-network"

numbers = count(1)


@dataclass
class Cluster(KubeNodes):
    """Two nodes."""

    replicas: Replicas
    controller: Program

    def pools(self, specs: Mapping[str, Mapping[str, Any]], kind: str = POOLS) -> None:
        """Create pools or subnets by name, and wait until each is accepted."""

        def create(server: ApiServer) -> None:
            for name, spec in specs.items():
                make(server, kind, name, **spec)

        def accepted(server: ApiServer) -> bool:
            told = [condition(seen(server, kind, name), "Accepted") for name in specs]
            return all(one and one["status"] == "True" for one in told)

        self.api.do(create)
        self.until(accepted)

    def start_controller(self) -> None:
        """Start the controller, the first time or again."""
        self.controller.launch()
        self.controller.line("^ready controller ")

    def namespace(self, name: str, labels: Mapping[str, str], **annotations: str) -> None:
        """Create a namespace. `default_ipv4_ippool` names an annotation of ours."""
        keys = {f"ipam.spidernet.io/{k.replace('_', '-')}": v for k, v in annotations.items()}
        body = {"metadata": {"name": name, "labels": dict(labels), "annotations": keys}}
        self.api.do(lambda server: server.create("v1", "namespaces", body))

    def owned(
        self, api_version: str, plural: str, kind: str, name: str, owner: Any = None
    ) -> dict[str, str]:
        """Create a controller of pods in shop, and return it as its pods name it."""
        owners = [{**owner, "controller": True}] if owner else []
        body = {"metadata": {"name": name, "ownerReferences": owners}}
        made = self.api.do(lambda server: server.create(api_version, plural, body, "shop"))
        uid = made["metadata"]["uid"]
        return {"apiVersion": api_version, "kind": kind, "name": name, "uid": uid}

    def owner_of(self, pod: str) -> Owner | None:
        """The owner that the log has for a pod's allocation."""
        [row] = [row for row in self.replicas.allocations() if row.pod == pod]
        return row.owner


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, shim: Path, nats_server: EmbeddedServer
) -> Iterator[Cluster]:
    root = tmp_path_factory.mktemp("cluster")
    with server_thread() as api, replicas(root, nats_server.url, "cases", shim) as site:
        kubeconfig = api.server.kubeconfig(root)
        command = [IPLEDGER, "controller", "--nats", site.nats_url, "--realm", site.realm]
        command += ["--http", "0", "--kubeconfig", str(kubeconfig)]
        controller = Program("controller", command, root)
        agents = {name: site.add_agent(kubeconfig=kubeconfig) for name in ZONES}
        made = Cluster(api, agents, site, controller)
        for name, zone in ZONES.items():
            body = {"metadata": {"name": name, "labels": {"zone": zone}}}
            api.do(partial(create_node, body=body))
        for name, tier in TIERS.items():
            made.namespace(name, {"tier": tier})
        site.start(engines=1, agents=0)
        for agent in agents.values():
            agent.start()
        made.start_controller()
        yield made
        assert site.ipledger("verify").returncode == 0
        assert controller.stop() == 0, controller.log.read_text()


def create_node(server: ApiServer, body: dict[str, Any]) -> None:
    server.create("v1", "nodes", body)


def wants(*pools: str, **more: list[str]) -> str:
    """The value of an annotation that names IPv4 pools or a subnet."""
    return json.dumps({"ipv4": list(pools), **more})


def test_the_nearest_level_that_names_pools_decides(cluster: Cluster) -> None:
    cluster.pools(
        {
            name: {
                "subnet": f"10.{n}.0.0/24",
                "ips": [f"10.{n}.0.1-10.{n}.0.9"],
                "default": n == 44,
            }
            for n, name in enumerate(("of-pod", "of-namespace", "of-network", "of-cluster"), 41)
        }
    )
    cluster.namespace("named", {}, default_ipv4_ippool='["of-namespace"]')
    cluster.namespace("wild", {}, default_ipv4_ippool='["of-name*"]')
    of_pod, of_network = {IPPOOL: wants("of-pod")}, {"default_ipv4_ippool": ["of-network"]}
    by_item = json.dumps([{"interface": "eth0", "ipv4": ["of-network"]}])

    def served(namespace: str, ipam: dict[str, Any], **annotations: str) -> str:
        """The network of the address that a new pod gets."""
        name = f"pod-{next(numbers)}"
        uid = cluster.pod(name, namespace=namespace, annotations=annotations)
        [address] = cluster.call("ADD", name, uid, namespace=namespace, **ipam).addresses
        return address.rpartition(".")[0]

    assert served("named", of_network, **of_pod, **{IPPOOLS: by_item}) == "10.43.0"
    assert served("named", of_network, **of_pod) == "10.41.0"
    assert served("named", of_network) == "10.42.0"
    assert served("wild", of_network) == "10.42.0"
    assert served("shop", of_network) == "10.43.0"
    assert served("shop", {}) == "10.44.0"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("nodeName", ["node-1"]),
        ("nodeAffinity", {"matchLabels": {"zone": "east"}}),
        ("namespaceName", ["mall"]),
        ("namespaceAffinity", {"matchLabels": {"tier": "gold"}}),
        ("podAffinity", {"matchLabels": {"app": "web"}}),
        ("multusName", ["kube-system/macvlan"]),
    ],
)
def test_a_pool_serves_those_alone_whose_objects_match_its_affinity(
    cluster: Cluster, field: str, value: Any
) -> None:
    number, pool = 50 + next(numbers), f"for-{field.lower()}"
    ips = [f"10.{number}.0.1-10.{number}.0.2"]
    cluster.pools({pool: {"subnet": f"10.{number}.0.0/24", "ips": ips, field: value}})

    def add(name: str, node: str, namespace: str, network: str) -> Outcome:
        annotations = {IPPOOL: wants(pool), NETWORK: network}
        labels, pod = {"app": name}, f"{name}-{number}"
        uid = cluster.pod(
            pod, node=node, namespace=namespace, labels=labels, annotations=annotations
        )
        return cluster.call("ADD", pod, uid, node=node, namespace=namespace)

    assert add("web", "node-1", "mall", "macvlan").addresses == [f"10.{number}.0.1/24"]
    refused = add("mail", "node-2", "bank", "ipvlan")
    assert refused.code == 1
    assert f"spec.{field}" in refused.stdout
    assert cluster.replicas.pools()[pool].free == 1


def test_a_daemon_set_over_two_zones_is_served_from_the_pool_of_each_zone(
    cluster: Cluster,
) -> None:
    zones = {zone: {"matchLabels": {"zone": zone}} for zone in ZONES.values()}
    cluster.pools(
        {
            zone: {"subnet": f"10.{n}.0.0/24", "ips": [f"10.{n}.0.1"], "nodeAffinity": selector}
            for n, (zone, selector) in enumerate(zones.items(), 71)
        }
    )
    owner = cluster.owned("apps/v1", "daemonsets", "DaemonSet", "everywhere")
    given = {}
    for node in ZONES:
        name = f"everywhere-{node}"
        uid = cluster.pod(name, owner, node=node, annotations={IPPOOL: wants(*zones)})
        given[node] = cluster.call("ADD", name, uid, node=node).addresses
    assert given == {"node-1": ["10.71.0.1/24"], "node-2": ["10.72.0.1/24"]}


def test_a_pod_of_a_stateful_set_is_built_again_on_another_node_with_its_address(
    cluster: Cluster,
) -> None:
    labels = {"app": "cart"}
    spec = {"subnet": "10.73.0.0/24", "ips": ["10.73.0.1-10.73.0.9"]}
    cluster.pools({"for-cart": {**spec, "podAffinity": {"matchLabels": labels}}})
    uid = cluster.api.do(lambda server: workload(server, "statefulsets", "cart", 2))
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "cart", "uid": uid}
    until(lambda: "cart" in cluster.replicas.ipledger("get", "applications").stdout, WAIT_S)

    def add(name: str, node: str) -> tuple[str, list[str]]:
        uid = cluster.pod(
            name, owner, node=node, labels=labels, annotations={IPPOOL: wants("for-cart")}
        )
        return uid, cluster.call("ADD", name, uid, node=node).addresses

    before, addresses = add("cart-0", "node-1")
    cluster.remove("cart-0")
    assert cluster.call("DEL", "cart-0", before) == Outcome(0, "")
    assert add("cart-1", "node-2")[1] != addresses
    after, again = add("cart-0", "node-2")
    assert again == addresses
    [row] = [row for row in cluster.replicas.allocations() if row.pod == "cart-0"]
    assert (row.uid, row.node) == (after, "node-2")


def taken_of(server: ApiServer, subnet: str) -> int:
    """How many addresses of a subnet its pools have, as its status says."""
    found = seen(server, SUBNETS, subnet) or {}
    return int(found.get("status", {}).get("allocatedIPCount", 0))


def test_an_auto_pool_follows_the_size_of_its_deployment_under_its_pods(cluster: Cluster) -> None:
    cluster.pools({"scaled": {"subnet": "10.74.0.0/24", "ips": ["10.74.0.1-10.74.0.50"]}}, SUBNETS)
    asks = wants("scaled")
    uid = cluster.api.do(lambda server: workload(server, "deployments", "grows", 1, subnet=asks))
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "grows", "uid": uid}
    owner = cluster.owned("apps/v1", "replicasets", "ReplicaSet", "grows-5d", deployment)
    pool = f"auto4-grows-eth0-{uid.rpartition('-')[2][:5]}"
    uids: dict[str, str] = {}

    def until_size(replicas: int) -> None:
        """One address more than the Deployment wants pods, for one that is being replaced."""
        cluster.api.do(
            lambda server: server.change(
                "deployments", "grows", "shop", spec={"replicas": replicas}
            )
        )
        ips = [f"10.74.0.1-10.74.0.{replicas + 1}"]
        cluster.until(
            lambda server: (seen(server, POOLS, pool) or {"spec": {}})["spec"].get("ips") == ips
        )

    def add(name: str, node: str) -> Outcome:
        uids[name] = cluster.pod(name, owner, node=node, annotations={SUBNET: asks})
        return cluster.call("ADD", name, uids[name], node=node)

    until_size(1)
    assert add("grows-1", "node-1").addresses == ["10.74.0.1/24"]
    assert add("grows-2", "node-2").addresses == ["10.74.0.2/24"]
    assert "exhausted" in add("grows-3", "node-1").stdout
    until_size(4)
    cluster.until(lambda server: taken_of(server, "scaled") == 5)
    assert cluster.call("ADD", "grows-3", uids["grows-3"]).addresses == ["10.74.0.3/24"]
    cluster.remove("grows-3")
    assert cluster.call("DEL", "grows-3", uids["grows-3"]) == Outcome(0, "")
    until_size(1)
    assert cluster.replicas.pools()[pool].free == 0

    cluster.api.do(lambda server: server.delete("deployments", "grows", "shop"))
    for name, node in (("grows-1", "node-1"), ("grows-2", "node-2")):
        cluster.remove(name)
        assert cluster.call("DEL", name, uids[name], node=node) == Outcome(0, "")
    cluster.until(lambda server: seen(server, POOLS, pool) is None)
    cluster.until(lambda server: taken_of(server, "scaled") == 0)


def test_pods_of_every_kind_of_controller_are_their_top_owners(cluster: Cluster) -> None:
    cluster.pools(
        {
            "four": {"subnet": "10.75.0.0/24", "ips": ["10.75.0.1-10.75.0.50"]},
            "six": {"subnet": "fd75::/64", "ips": ["fd75::1-fd75::50"]},
        }
    )
    deployment = cluster.owned("apps/v1", "deployments", "Deployment", "web")
    cron_job = cluster.owned("batch/v1", "cronjobs", "CronJob", "nightly")
    owners: list[tuple[Any, Any]] = [
        (None, None),
        (cluster.owned("apps/v1", "replicasets", "ReplicaSet", "web-5d", deployment), deployment),
        *[
            (one, one)
            for one in (
                cluster.owned("apps/v1", "replicasets", "ReplicaSet", "alone"),
                cluster.owned("apps/v1", "daemonsets", "DaemonSet", "agent"),
                cluster.owned("apps/v1", "statefulsets", "StatefulSet", "db"),
                cluster.owned("batch/v1", "jobs", "Job", "once"),
            )
        ],
        (cluster.owned("batch/v1", "jobs", "Job", "nightly-1", cron_job), cron_job),
    ]
    for number, (owner, top) in enumerate(owners, 1):
        name = f"{owner['name'] if owner else 'bare'}-{number}"
        uid = cluster.pod(name, owner, annotations={IPPOOL: wants("four", ipv6=["six"])})
        added = cluster.call("ADD", name, uid)
        assert added.addresses == [f"10.75.0.{number}/24", f"fd75::{number}/64"]
        assert cluster.owner_of(name) == (top and msgspec.convert(top, Owner))


def test_pods_of_a_third_partys_controller_have_it_as_their_owner(cluster: Cluster) -> None:
    cluster.api.do(lambda server: server.define(KRUISE, "clonesets", "CloneSet"))
    owner = cluster.owned(KRUISE, "clonesets", "CloneSet", "clones")
    by_labels = {"podAffinity": {"matchLabels": {"app": "clones"}}}
    cluster.pools({"clones": {"subnet": "10.76.0.0/24", "ips": ["10.76.0.1"], **by_labels}})
    cluster.pools({"herd": {"subnet": "10.77.0.0/24", "ips": ["10.77.0.1-10.77.0.50"]}}, SUBNETS)

    labels = {"app": "clones"}
    uid = cluster.pod("clones-1", owner, labels=labels, annotations={IPPOOL: wants("clones")})
    assert cluster.call("ADD", "clones-1", uid).addresses == ["10.76.0.1/24"]
    assert cluster.owner_of("clones-1") == msgspec.convert(owner, Owner)

    uid = cluster.pod("clones-2", owner, annotations={SUBNET: wants("herd"), NUMBER: "3"})
    assert cluster.call("ADD", "clones-2", uid).addresses == ["10.77.0.1/24"]
    pool = f"auto4-clones-eth0-{owner['uid'].rpartition('-')[2][:5]}"
    found = cluster.until(lambda server: seen(server, POOLS, pool))
    assert found["spec"]["ips"] == ["10.77.0.1-10.77.0.3"]


def test_a_pod_of_a_third_partys_stateful_set_holds_nothing(cluster: Cluster) -> None:
    cluster.api.do(lambda server: server.define(KRUISE_BETA, "statefulsets", "StatefulSet"))
    owner = cluster.owned(KRUISE_BETA, "statefulsets", "StatefulSet", "theirs")
    cluster.pools({"theirs": {"subnet": "10.78.0.0/24", "ips": ["10.78.0.1"]}})
    uid = cluster.pod("theirs-0", owner, annotations={IPPOOL: wants("theirs")})
    assert cluster.call("ADD", "theirs-0", uid).addresses == ["10.78.0.1/24"]
    cluster.remove("theirs-0")
    assert cluster.call("DEL", "theirs-0", uid) == Outcome(0, "")
    assert cluster.replicas.pools()["theirs"].free == 1


def test_a_pod_whose_agent_restarts_gets_its_address_when_the_runtime_tries_again(
    cluster: Cluster,
) -> None:
    cluster.pools({"retried": {"subnet": "10.79.0.0/24", "ips": ["10.79.0.1-10.79.0.2"]}})
    agent = cluster.replicas.agents[1]
    uids = [
        cluster.pod(f"retried-{n}", node="node-2", annotations={IPPOOL: wants("retried")})
        for n in (1, 2)
    ]
    first = cluster.call("ADD", "retried-1", uids[0], node="node-2")
    agent.program.kill()
    assert cluster.call("ADD", "retried-2", uids[1], node="node-2").code == 1
    agent.start()
    assert cluster.call("ADD", "retried-1", uids[0], node="node-2") == first
    assert cluster.call("ADD", "retried-2", uids[1], node="node-2").addresses == ["10.79.0.2/24"]


def test_a_pod_gets_its_address_while_no_controller_runs_and_the_next_one_shows_it(
    cluster: Cluster,
) -> None:
    cluster.pools({"alone": {"subnet": "10.80.0.0/24", "ips": ["10.80.0.1"]}})
    cluster.controller.kill()
    uid = cluster.pod("unseen", annotations={IPPOOL: wants("alone")})
    assert cluster.call("ADD", "unseen", uid).addresses == ["10.80.0.1/24"]
    cluster.start_controller()
    cluster.until(lambda s: holders(seen(s, POOLS, "alone")) == {"10.80.0.1": "shop/unseen"})


def test_a_pod_that_comes_while_etcd_restarts_gets_its_address_when_it_is_back(
    cluster: Cluster,
) -> None:
    """An API server without its etcd answers with errors, and ends its watches."""
    cluster.pools({"steady": {"subnet": "10.81.0.0/24", "ips": ["10.81.0.1-10.81.0.2"]}})
    known = cluster.pod("known", annotations={IPPOOL: wants("steady")})
    assert cluster.call("ADD", "known", known).addresses == ["10.81.0.1/24"]
    away = Fault(times=10**6, error=StatusError("InternalError", "etcdserver: request timed out"))

    def stop(server: ApiServer) -> int:
        server.faults.append(away)
        server.drop_watches()
        return server.count("get", "pods")

    asked = cluster.api.do(stop)
    again = cluster.call("ADD", "known", known)
    assert again.addresses == ["10.81.0.1/24"], "the agent knows that pod"
    uid = cluster.pod("unseen-yet", annotations={IPPOOL: wants("steady")})
    with ThreadPoolExecutor(1) as runtime:
        answer = runtime.submit(cluster.call, "ADD", "unseen-yet", uid)
        cluster.until(lambda server: server.count("get", "pods") > asked)
        assert not answer.done()
        cluster.api.do(lambda server: server.faults.remove(away))
        assert answer.result().addresses == ["10.81.0.2/24"]


def test_a_pod_gets_its_address_from_an_agent_that_starts_while_no_name_is_resolved(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Nothing of ours waits for CoreDNS (ADR 47): whoever it would be is not even asked."""
    if os.geteuid() != 0:
        pytest.skip("a resolver of its own needs root")
    cluster.pools({"nameless": {"subnet": "10.82.0.0/24", "ips": ["10.82.0.1"]}})
    uid = cluster.pod("nameless", node="node-2", annotations={IPPOOL: wants("nameless")})
    settings = tmp_path / "resolv.conf"
    settings.write_text(f"nameserver {RESOLVER}\n")
    agent = cluster.replicas.agents[1]
    agent.program.kill()
    usual = agent.program.command
    mount = f'mount --bind {settings} /etc/resolv.conf && exec "$@"'
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        resolver.bind((RESOLVER, 53))
        resolver.setblocking(False)
        agent.program.command = ["unshare", "--mount", "sh", "-c", mount, "sh", *usual]
        agent.start()
        added = cluster.call("ADD", "nameless", uid, node="node-2")
        assert added.addresses == ["10.82.0.1/24"]
        with pytest.raises(BlockingIOError):
            resolver.recv(512)
    agent.program.kill()
    agent.program.command = usual
    agent.start()
