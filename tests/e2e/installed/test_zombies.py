"""What a runtime never gives back, the collector frees; and nothing that lives.

Behind each test the pods that run have the addresses that the log says (`namespace`), and when all
are gone every address is free (`nothing_is_left`).
"""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from support.cluster.kubectl import Kubectl
from support.cluster.machine import Machine
from support.cluster.manifests import pool, put
from support.cluster.networks import host_local
from support.cluster.pods import (
    POLL_S,
    TIMEOUT_S,
    Running,
    deployment,
    until_running,
    wait_gone,
    workload,
)
from support.cluster.site import Site
from support.program import until
from support.replicas import AgentProgram

POOL = pool("leaky", "10.83.0.0/16", "10.83.1.1-10.83.1.40", default=True)
ELSEWHERE = host_local("10.74.0.0/16")
ROUNDS = 4
FORCED = ("--force", "--grace-period=0")


@pytest.fixture
def node(kubectl: Kubectl, installed: Site) -> Machine:
    """The machine that everything happens to."""
    put(kubectl, POOL)
    return installed.machines[0]


def on(node: Machine, app: dict[str, Any]) -> dict[str, Any]:
    """A workload whose pods run on one machine."""
    app["spec"]["template"]["spec"]["nodeSelector"] = {"kubernetes.io/hostname": node.name}
    return app


@contextmanager
def engine_asleep(site: Site) -> Generator[None]:
    """The engine hears what is asked of it only afterwards."""
    [engine] = site.replicas.engines
    engine.send(signal.SIGSTOP)
    try:
        yield
    finally:
        engine.send(signal.SIGCONT)


def until_collected(site: Site, namespace: str, pods: list[str], why: set[str]) -> None:
    """Wait until the collector has freed what these pods had, for one of these reasons."""
    for pod in pods:
        found = until(partial(site.collected, f"{namespace}/{pod}"), TIMEOUT_S, POLL_S)
        assert set(found) <= why
    assert holders(site).keys().isdisjoint(pods)


def until_asked(agent: AgentProgram) -> None:
    """Wait until a sleeping engine was asked for all that the shims wait for.

    A shim waits before its agent has asked; each that it asked for, it asks for again and again.
    """
    before = agent.retries()
    until(lambda: agent.retries() >= before + ROUNDS, 60)


def holders(site: Site) -> dict[str, str]:
    """Each allocation's address by its pod's name."""
    return {row.pod: row.addresses[0].address.partition("/")[0] for row in site.allocations()}


def test_a_del_that_never_comes_is_made_good_and_told_in_the_history(
    kubectl: Kubectl, installed: Site, namespace: str, node: Machine
) -> None:
    kubectl.apply(on(node, deployment(namespace, "gone", 3)))
    kubectl.apply(on(node, workload("DaemonSet", namespace, "stays", None)))
    until_running(kubectl, namespace, 4)
    lost = {pod: ip for pod, ip in holders(installed).items() if pod.startswith("gone")}
    try:
        node.set_network(ELSEWHERE)  # whose plugin is asked to free from now on
        kubectl("delete", "-n", namespace, "deployment/gone")
        until_collected(installed, namespace, list(lost), {"gone", "torn-down", "terminated"})
    finally:
        installed.connect()
    for pod, address in lost.items():
        told = installed.ipledger("history", "ip", address, "-o", "jsonl").stdout
        assert '"reason":"gc"' in told.replace(": ", ":")
        assert f"{namespace}/{pod}" in told
        assert "confirmed at" in told
    [kept] = until_running(kubectl, namespace, 1)
    assert kept.addresses == (holders(installed)[kept.name],)


def test_a_runtime_killed_in_mid_add_whose_del_never_comes(
    kubectl: Kubectl, installed: Site, namespace: str, node: Machine
) -> None:
    with engine_asleep(installed):
        kubectl.apply(on(node, deployment(namespace, "cut", 3)))
        until(lambda: node.waiting_calls() >= 3, 60)
        node.containerd.kill()
    try:
        until(lambda: len(installed.allocations()) == 3, 60, POLL_S)
        pods = list(holders(installed))
        node.write_network(ELSEWHERE)
        kubectl("delete", "-n", namespace, "deployment/cut")
        kubectl("delete", "pods", "-n", namespace, "--all", *FORCED)
        node.start_containerd()
        until_collected(installed, namespace, pods, {"gone"})
    finally:
        installed.connect()


def test_an_add_that_failed_and_whose_del_failed_too(
    kubectl: Kubectl, installed: Site, namespace: str, node: Machine
) -> None:
    agent = installed.agents[0]
    with engine_asleep(installed):
        kubectl.apply(on(node, deployment(namespace, "failed", 2)))
        until(lambda: node.waiting_calls() >= 2, 60)
        until_asked(agent)
        agent.program.kill()
    try:
        # What the agent had asked for is given all the same, and nobody takes it.
        until(lambda: len(installed.allocations()) == 2, 60, POLL_S)
        pods = list(holders(installed))
        kubectl("delete", "-n", namespace, "deployment/failed", "--wait=false")
        kubectl("delete", "pods", "-n", namespace, "--all", *FORCED)
        until_collected(installed, namespace, pods, {"gone"})
    finally:
        agent.start()


def test_a_sandbox_that_was_removed_behind_the_runtimes_back(
    kubectl: Kubectl, installed: Site, namespace: str, node: Machine
) -> None:
    kubectl.apply(on(node, deployment(namespace, "torn", 2)))
    pods = until_running(kubectl, namespace, 2)
    node.kubelet.kill()
    try:
        for pod in pods:
            node.remove_sandbox(pod.uid)
        node.containerd.kill()
        node.start_containerd()
        kubectl("delete", "-n", namespace, "deployment/torn", "--wait=false")
        kubectl("delete", "pods", "-n", namespace, "--all", *FORCED)
    finally:
        node.kubelet.start()
    until_collected(installed, namespace, [pod.name for pod in pods], {"gone"})
    node.wait_ready()


def test_a_machine_that_is_lost_with_its_pods(
    kubectl: Kubectl, installed: Site, namespace: str, node: Machine
) -> None:
    kubectl.apply(on(node, deployment(namespace, "lost", 2)))
    pods = until_running(kubectl, namespace, 2)
    node.kubelet.kill()
    try:
        kubectl("delete", "node", node.name)
        kubectl("delete", "-n", namespace, "deployment/lost")
        why = {"node-lost", "gone"}  # its pods are deleted by the cluster before or after
        until_collected(installed, namespace, [pod.name for pod in pods], why)
        kubectl("delete", "pods", "-n", namespace, "--all", *FORCED)
    finally:
        node.kubelet.start()
        until(lambda: kubectl.finds("node", node.name), 60, POLL_S)
        node.wait_ready()


def test_a_machine_that_starts_again_has_the_same_addresses_in_new_sandboxes(
    kubectl: Kubectl, installed: Site, namespace: str, node: Machine
) -> None:
    kubectl.apply(on(node, deployment(namespace, "back", 3)))
    before = until_running(kubectl, namespace, 3)
    sandboxes = {row.sandbox for row in installed.allocations()}
    agent = installed.agents[0]
    node.kubelet.kill()
    agent.program.kill()
    node.end_containers()
    node.containerd.kill()
    node.start_containerd()
    agent.start()
    node.kubelet.start()

    def rebuilt() -> list[Running] | None:
        rows = installed.allocations()
        fresh = len(rows) == 3 and sandboxes.isdisjoint(row.sandbox for row in rows)
        return until_running(kubectl, namespace, 3) if fresh else None

    pods = until(rebuilt, TIMEOUT_S, POLL_S)
    assert {pod.uid: pod.addresses for pod in pods} == {p.uid: p.addresses for p in before}


def test_a_collector_that_was_away_finds_what_it_missed(
    kubectl: Kubectl, installed: Site, namespace: str, node: Machine
) -> None:
    kubectl.apply(on(node, deployment(namespace, "missed", 2)))
    pods = until_running(kubectl, namespace, 2)
    installed.controller.kill()
    try:
        node.set_network(ELSEWHERE)
        kubectl("delete", "-n", namespace, "deployment/missed")
        wait_gone(kubectl, namespace)
        assert len(installed.allocations()) == 2
        told = installed.gc("--dry-run")
        assert [(one["pod"], one["outcome"]) for one in told] == [
            (pod.name, "would be freed") for pod in pods
        ]
    finally:
        installed.connect()
        installed.start_controller()
    until_collected(installed, namespace, [pod.name for pod in pods], {"gone"})
