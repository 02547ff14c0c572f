"""A node of a cluster: `ipledger up --kubeconfig` as a process, the shim, an API server double."""

from __future__ import annotations

import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.apiserver import ApiServer
from support.kube import (
    POOLS,
    SUBNETS,
    condition,
    holders,
    make,
    seen,
    server_thread,
    warnings,
    workload,
)
from support.kube_nodes import WAIT_S, KubeNodes
from support.node import IPLEDGER, Node, Outcome
from support.program import Program, until

from ipledger.cli.app import run

BLUE: dict[str, Any] = {"subnet": "10.68.0.0/24", "ips": ["10.68.0.1-10.68.0.9"], "default": True}
SUBNET = "ipam.spidernet.io/subnet"


@dataclass
class Cluster(KubeNodes):
    """An API server, and its one node."""

    node: Node


@pytest.fixture
def cluster(tmp_path: Path, shim: Path) -> Iterator[Cluster]:
    with server_thread() as api:
        api.do(lambda server: server.create("v1", "nodes", {"metadata": {"name": "node-1"}}))
        kubeconfig = api.server.kubeconfig(tmp_path)
        patient = ("--min-age", "3600")  # what is freed here, a test's own collector has freed
        node = Node(tmp_path, shim, kubeconfig=kubeconfig, flags=patient)
        node.start()
        yield Cluster(api, {node.name: node}, node)
        assert node.stop() == 0, node.log.read_text()


def test_a_pool_from_its_manifest_to_the_end_of_its_last_pod(cluster: Cluster) -> None:
    api = cluster.api
    api.do(lambda server: make(server, POOLS, "blue", **BLUE))
    cluster.until(lambda server: condition(seen(server, POOLS, "blue"), "Accepted"))
    uid = cluster.pod("web")
    assert cluster.call("ADD", "web", uid).addresses == ["10.68.0.1/24"]
    cluster.until(lambda s: holders(seen(s, POOLS, "blue")) == {"10.68.0.1": "shop/web"})

    api.do(lambda server: server.delete(POOLS, "blue"))
    cluster.until(lambda server: condition(seen(server, POOLS, "blue"), "Terminating"))
    assert cluster.node.pools()["blue"].terminating
    late = cluster.pod("late")
    assert "terminating" in cluster.call("ADD", "late", late).stdout

    cluster.remove("web")
    assert cluster.call("DEL", "web", uid) == Outcome(0, "")
    cluster.until(lambda server: seen(server, POOLS, "blue") is None)
    assert cluster.node.pools() == {}


def test_a_stateful_set_of_the_cluster_keeps_its_addresses_until_it_shrinks(
    cluster: Cluster,
) -> None:
    api = cluster.api
    api.do(lambda server: make(server, POOLS, "blue", **BLUE))
    cluster.until(lambda server: condition(seen(server, POOLS, "blue"), "Accepted"))
    owner_uid = api.do(lambda server: workload(server, "statefulsets", "cart", 2))
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "cart", "uid": owner_uid}
    until(lambda: "cart" in cluster.node.ipledger("get", "applications").stdout, WAIT_S)
    first: dict[str, list[str]] = {}
    for name in ("cart-0", "cart-1"):
        uid = cluster.pod(name, owner)
        first[name] = cluster.call("ADD", name, uid).addresses
        cluster.remove(name)
        assert cluster.call("DEL", name, uid) == Outcome(0, "")
    assert cluster.node.pools()["blue"].held == 2
    again = cluster.pod("cart-1", owner)
    assert cluster.call("ADD", "cart-1", again).addresses == first["cart-1"]
    cluster.remove("cart-1")
    cluster.call("DEL", "cart-1", again)

    api.do(lambda server: server.change("statefulsets", "cart", "shop", spec={"replicas": 1}))
    until(lambda: cluster.node.pools()["blue"].held == 1, WAIT_S)
    cluster.until(lambda s: list(holders(seen(s, POOLS, "blue"))) == ["10.68.0.1"])


def test_a_deployment_has_an_auto_pool_that_is_seen_and_goes_with_it(cluster: Cluster) -> None:
    api = cluster.api
    api.do(
        lambda server: make(
            server, SUBNETS, "green", subnet="10.69.0.0/24", ips=["10.69.0.1-10.69.0.50"]
        )
    )
    cluster.until(lambda server: condition(seen(server, SUBNETS, "green"), "Accepted"))
    asks = '{"ipv4":["green"]}'
    of = api.do(lambda server: workload(server, "deployments", "web", 3, subnet=asks))
    name = f"auto4-web-eth0-{of.rpartition('-')[2][:5]}"
    cluster.until(lambda server: seen(server, POOLS, name))
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": of}
    uid = cluster.pod("web-1", owner, annotations={SUBNET: asks})
    assert cluster.call("ADD", "web-1", uid).addresses == ["10.69.0.1/24"]
    cluster.until(lambda s: holders(seen(s, POOLS, name)) == {"10.69.0.1": "shop/web-1"})

    api.do(lambda server: server.delete("deployments", "web", "shop"))
    cluster.remove("web-1")
    assert cluster.call("DEL", "web-1", uid) == Outcome(0, "")
    cluster.until(lambda server: seen(server, POOLS, name) is None)


def test_the_controller_as_a_role_of_its_own(cluster: Cluster, tmp_path: Path) -> None:
    """Beside the one of `up`: they do not fight."""
    command = [IPLEDGER, "controller", "--nats", cluster.node.nats_url, "--http", "0"]
    command += ["--nkey", str(cluster.node.key("controller"))]
    command += ["--kubeconfig", str(cluster.node.kubeconfig)]
    program = Program("controller", command, tmp_path)
    program.launch()
    program.line(r"^ready controller nats=\S+ http=\S+$")
    cluster.api.do(
        lambda server: make(server, POOLS, "bad", subnet="10.1.0.0/24", ips=["10.2.0.1"])
    )
    cluster.until(lambda server: condition(seen(server, POOLS, "bad"), "Accepted"))
    cluster.until(lambda server: warnings(server))
    assert program.stop() == 0


def test_an_address_whose_del_never_came_is_free_again(cluster: Cluster, tmp_path: Path) -> None:
    command = [IPLEDGER, "controller", "--nats", cluster.node.nats_url, "--http", "0"]
    command += ["--nkey", str(cluster.node.key("controller"))]
    command += ["--kubeconfig", str(cluster.node.kubeconfig), "--min-age", "0"]
    program = Program("controller", command, tmp_path)
    program.launch()
    url = program.line(r"^ready controller nats=\S+ http=(\S+)$")[1]
    cluster.api.do(lambda server: make(server, POOLS, "blue", **BLUE))
    cluster.until(lambda server: condition(seen(server, POOLS, "blue"), "Accepted"))
    cluster.pod("stays")
    uid = cluster.pod("goes")
    assert cluster.call("ADD", "goes", uid).code == 0
    cluster.until(lambda server: holders(seen(server, POOLS, "blue")))
    cluster.remove("goes")
    cluster.until(lambda server: not holders(seen(server, POOLS, "blue")))

    def shown() -> bool:
        with urllib.request.urlopen(f"{url}/metrics", timeout=WAIT_S) as answer:
            text = answer.read().decode()
        return 'ipledger_gc_freed_total{realm="default",reason="gone"} 1.0' in text

    until(shown, WAIT_S)
    assert program.stop() == 0


def test_of_two_controllers_with_a_lease_one_works_and_the_other_takes_over(
    cluster: Cluster, tmp_path: Path
) -> None:
    command = [IPLEDGER, "controller", "--nats", cluster.node.nats_url, "--http", "0"]
    command += ["--nkey", str(cluster.node.key("controller")), "--lease", "default/ipledger"]
    command += ["--kubeconfig", str(cluster.node.kubeconfig)]
    first, second = Program("first", command, tmp_path), Program("second", command, tmp_path)
    first.launch()
    first.line("^ready controller ")
    second.launch()
    cluster.until(lambda server: server.count("get", "leases") >= 3)
    assert "ready" not in second.log.read_text()
    assert first.stop() == 0
    second.line("^ready controller ")

    def steal(server: ApiServer) -> None:
        server.change("leases", "ipledger", "default", spec={"holderIdentity": "another"})

    cluster.api.do(steal)
    assert second.wait() == 1
    assert "lease default/ipledger: another has it now" in second.log.read_text()


@pytest.mark.parametrize("text", ["ipledger", "/", "default/", "a/b/c", "default/UP"])
def test_a_lease_that_is_no_name_is_quoted(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["controller", "--lease", text]) == 2
    assert f"--lease: '{text}' is not NAMESPACE/NAME" in capsys.readouterr().err


def test_a_controller_without_nats_waits_and_stops_when_asked(tmp_path: Path) -> None:
    with server_thread() as api:
        command = [IPLEDGER, "controller", "--nats", "nats://127.0.0.1:1", "--http", "0"]
        command += ["--kubeconfig", str(api.server.kubeconfig(tmp_path))]
        program = Program("controller", command, tmp_path)
        program.launch()
        program.line("controller: NATS: ")
        assert program.stop() == 0


def test_a_kubeconfig_that_is_none_ends_with_one_error(tmp_path: Path) -> None:
    config = tmp_path / "kubeconfig"
    config.write_text("clusters: 7")
    for arguments, what in (
        (["controller", "--kubeconfig", str(tmp_path / "absent")], "is neither a file nor"),
        (["up", "--data", str(tmp_path / "d"), "--kubeconfig", str(config)], "kubeconfig"),
    ):
        ports = ["--nats-port", "0", "--socket", str(tmp_path / "s")] if "up" in arguments else []
        done = subprocess.run(
            [IPLEDGER, *arguments, *ports, "--http", "0"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode in (1, 2)
        assert "error: " in done.stderr
        assert what in done.stderr.splitlines()[-1]
