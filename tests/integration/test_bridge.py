"""The main job: two network namespaces joined by the real `bridge` plugin over ipledger."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import pytest
from support.node import Node, Outcome, run_cni
from support.program import until

from ipledger.events.facts import PoolSpec

pytestmark = pytest.mark.usefixtures("needs_plugins")

V4 = PoolSpec("v4", 0, "10.61.0.0/24", ips=("10.61.0.10-10.61.0.20",), gateway="10.61.0.1")
V6 = PoolSpec("v6", 0, "fd61::/64", ips=("fd61::10-fd61::20",), gateway="fd61::1")

_numbers = count()


def sh(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@dataclass
class Cluster:
    """A host namespace with a bridge in it, and a namespace for each of two pods."""

    node: Node
    host: str
    pods: tuple[str, str]

    def bridge(self, command: str, pod: str, config: dict[str, Any]) -> Outcome:
        program = f"nsenter --net=/run/netns/{self.host} /usr/lib/cni/bridge"
        return run_cni(
            program,
            command,
            pod,
            config,
            CNI_NETNS=f"/run/netns/{pod}",
            CNI_PATH=f"{self.node.shim.parent}:/usr/lib/cni",
            CNI_ARGS=f"K8S_POD_NAMESPACE=shop;K8S_POD_NAME={pod};K8S_POD_UID=uid-{pod};IgnoreUnknown=1",
        )

    def reaches(self, pod: str, address: str) -> bool:
        ping = ["ip", "netns", "exec", pod, "ping", "-c", "1", "-W", "1", address]
        return subprocess.run(ping, check=False, capture_output=True).returncode == 0


@pytest.fixture
def cluster(node: Node) -> Iterator[Cluster]:
    tag = f"ipl{os.getpid()}-{next(_numbers)}"
    names = (f"{tag}-host", f"{tag}-a", f"{tag}-b")
    for name in names:
        sh("ip", "netns", "add", name)
    # Given a MAC of its own, the bridge keeps it; else it takes on a new port's, and the plugin's
    # CHECK of the pod before finds it changed.
    bridge = ("br0", "address", "02:00:00:00:00:01", "type", "bridge")
    sh("ip", "-n", names[0], "link", "add", *bridge)
    yield Cluster(node, names[0], (names[1], names[2]))
    for name in names:
        sh("ip", "netns", "delete", name)


@pytest.mark.parametrize("pools", [(V4,), (V6,), (V4, V6)], ids=["ipv4", "ipv6", "dual"])
@pytest.mark.parametrize("cni_version", ["0.4.0", "1.0.0"])
def test_two_pods_on_a_real_bridge(
    cluster: Cluster, pools: tuple[PoolSpec, ...], cni_version: str
) -> None:
    node = cluster.node
    node.apply(*pools)
    names: dict[str, list[str]] = {}
    for pool in pools:
        version = 6 if ":" in pool.subnet else 4
        names[f"default_ipv{version}_ippool"] = [pool.name]
    config = {**node.config(cni_version, **names), "bridge": "br0"}

    results = {pod: cluster.bridge("ADD", pod, config) for pod in cluster.pods}
    addresses = {pod: [a.partition("/")[0] for a in r.addresses] for pod, r in results.items()}
    assert len(addresses[cluster.pods[0]]) == len(pools)
    assert not set(addresses[cluster.pods[0]]) & set(addresses[cluster.pods[1]])

    for pod, other in (cluster.pods, cluster.pods[::-1]):
        for address in addresses[other]:
            assert until(partial(cluster.reaches, pod, address), 15)

    for pod in cluster.pods:
        with_result = {**config, "prevResult": results[pod].json}
        assert cluster.bridge("CHECK", pod, with_result) == Outcome(0, "")

    for pod in cluster.pods:
        for address in addresses[pod]:
            row = json.loads(node.ipledger("who", address, "-o", "json").stdout)
            assert (row["namespace"], row["pod"], row["uid"]) == ("shop", pod, f"uid-{pod}")
    listed = json.loads(node.ipledger("get", "allocations", "-o", "json").stdout)
    assert {row["sandbox"]: [a["address"] for a in row["addresses"]] for row in listed} == {
        pod: result.addresses for pod, result in results.items()
    }

    for pod in cluster.pods:
        with_result = {**config, "prevResult": results[pod].json}
        assert cluster.bridge("DEL", pod, with_result) == Outcome(0, "")
    assert node.allocations() == []
    assert {row.free for row in node.pools().values()} == {
        row.total for row in node.pools().values()
    }
