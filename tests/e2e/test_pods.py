"""Pods on a real machine: kubelet, containerd, the bridge plugin, our shim, and back."""

from __future__ import annotations

import json
import re
import urllib.request
from typing import Any

import pytest
from support.cluster.ipam import PODS, ROUNDS, WARM_PODS, Ipam, compare, hostlocal
from support.cluster.kubectl import Kubectl
from support.cluster.machine import Machine
from support.cluster.pods import (
    POLL_S,
    TIMEOUT_S,
    addresses,
    all_addresses,
    deployment,
    wait_gone,
    wait_pods,
    wait_running,
    workload,
)
from support.cluster.report import Report
from support.node import Node
from support.program import until

from ipledger.cni.install import Network
from ipledger.events.facts import PoolSpec

GOLD = PoolSpec("gold", 4, "10.71.0.0/16", ips=("10.71.1.1-10.71.1.60",))
SIX = PoolSpec("six", 6, "fd71::/64", ips=("fd71::10-fd71::50",))
PLAIN = PoolSpec("plain", 4, "10.72.0.0/16", ips=("10.72.1.1-10.72.1.60",), default=True)
FROM_GOLD = json.dumps({"ipv4": ["gold"]})


def ours(machine: Machine, ledger: Node) -> Ipam:
    network = Network("pods", "bridge", "ipledger0", ledger.socket).conflist()
    return Ipam(
        "ipledger",
        lambda: machine.set_network(network),
        lambda: len(ledger.allocations()),
        {"ippool": FROM_GOLD},
    )


def calls(ledger: Node) -> dict[str, int]:
    """How many calls of each command succeeded."""
    with urllib.request.urlopen(f"{ledger.http_url}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    pattern = r'ipledger_cni_requests_total\{code="0",command="(\w+)",realm="[^"]*"\} ([0-9.]+)'
    return {command: int(float(number)) for command, number in re.findall(pattern, text)}


def up(kubectl: Kubectl, app: dict[str, Any]) -> dict[str, str]:
    """Bring a Deployment up; the addresses of its pods."""
    kubectl.apply(app)
    namespace, name = app["metadata"]["namespace"], app["metadata"]["name"]
    wait_running(kubectl, namespace, f"deployment/{name}")
    return addresses(kubectl, namespace)


def test_fifty_pods_up_and_down_beside_host_local(
    kubectl: Kubectl, machine: Machine, ledger: Node, namespace: str, report: Report
) -> None:
    ledger.apply(GOLD, PLAIN)
    ipams = (hostlocal(machine), ours(machine, ledger))
    rounds = compare(kubectl, namespace, ipams, report, "agent and engine")
    assert {len(found) for found in rounds} == {PODS}
    assert all(address.startswith("10.71.1.") for address in rounds[-1])
    assert {row.free for row in ledger.pools().values()} == {60}
    made = calls(ledger)
    assert made["ADD"] == WARM_PODS + ROUNDS * PODS
    assert made["DEL"] >= made["ADD"]
    report.add("ADD and DEL calls", "ipledger", f"{made['ADD']} and {made['DEL']}")


def test_pods_get_addresses_of_the_pool_that_their_annotation_names(
    kubectl: Kubectl, machine: Machine, ledger: Node, namespace: str
) -> None:
    ledger.apply(GOLD, PLAIN)
    ours(machine, ledger).connect()
    up(kubectl, deployment(namespace, "gold", 2, ippool=FROM_GOLD))
    held = up(kubectl, deployment(namespace, "plain", 2))

    rows = [one for row in ledger.allocations() for one in row.addresses]
    pool_of = {one.address.partition("/")[0]: one.pool for one in rows}
    assert {pool_of[address] for address in held.values()} == {"gold", "plain"}
    for pod, address in held.items():
        assert pool_of.pop(address) == pod.partition("-")[0]
    assert pool_of == {}

    kubectl("delete", "-n", namespace, "deployment", "--all")
    until(lambda: ledger.allocations() == [], TIMEOUT_S, POLL_S)


@pytest.mark.parametrize(
    ("kind", "number"), [("Deployment", 2), ("StatefulSet", 2), ("DaemonSet", 1), ("Job", 2)]
)
def test_pods_of_every_controller_get_both_families_and_give_them_back(
    kubectl: Kubectl, machine: Machine, ledger: Node, namespace: str, kind: str, number: int
) -> None:
    ledger.apply(GOLD, SIX)
    ours(machine, ledger).connect()
    both = json.dumps({"ipv4": ["gold"], "ipv6": ["six"]})
    kubectl.apply(workload(kind, namespace, "both", number, ippool=both))
    wait_pods(kubectl, namespace, number)

    given = {
        row.pod: [one.address.partition("/")[0] for one in row.addresses]
        for row in ledger.allocations()
    }
    assert len(given) == number
    assert all_addresses(kubectl, namespace) == given

    kubectl("delete", "-n", namespace, kind, "both")
    until(lambda: ledger.allocations() == [], TIMEOUT_S, POLL_S)


def test_containerd_killed_in_mid_add_costs_no_address(
    kubectl: Kubectl, machine: Machine, ledger: Node, namespace: str
) -> None:
    ledger.apply(GOLD, PLAIN)
    ours(machine, ledger).connect()
    ledger.pause()
    kubectl.apply(deployment(namespace, "cut", 5, ippool=FROM_GOLD))
    until(lambda: machine.waiting_calls() >= 5, 120)
    machine.containerd.kill()
    ledger.resume()
    until(lambda: machine.waiting_calls() == 0, 60)
    machine.start_containerd()

    wait_running(kubectl, namespace, "deployment/cut")
    held = addresses(kubectl, namespace)
    assert len(set(held.values())) == 5

    kubectl("delete", "-n", namespace, "deployment/cut")
    wait_gone(kubectl, namespace)
    until(lambda: ledger.allocations() == [], TIMEOUT_S, POLL_S)
