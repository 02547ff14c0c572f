"""The cluster of these tests itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cluster.control_plane import ControlPlane
from support.cluster.kubectl import Kubectl
from support.cluster.machine import Machine
from support.cluster.networks import host_local
from support.cluster.pods import addresses, deployment, wait_running


@pytest.fixture
def second(cluster: ControlPlane, folder: Path) -> Iterator[Machine]:
    machine = Machine(2, folder / "node-2", cluster)
    try:
        machine.start()
        yield machine
    finally:
        machine.stop()
        cluster.kubectl("delete", "node", machine.name)


def test_a_second_machine_runs_pods_beside_the_first(
    kubectl: Kubectl, machine: Machine, second: Machine, namespace: str
) -> None:
    for one in (machine, second):
        one.set_network(host_local("10.74.0.0/16"))
        app = deployment(namespace, one.name, 1)
        app["spec"]["template"]["spec"]["nodeName"] = one.name
        kubectl.apply(app)
    for one in (machine, second):
        wait_running(kubectl, namespace, f"deployment/{one.name}")

    # Each host-local knows only its own machine.
    assert len(addresses(kubectl, namespace)) == 2
    assert set(addresses(kubectl, namespace).values()) == {"10.74.0.2"}
    kubectl("delete", "-n", namespace, "deployment", "--all")
    kubectl("wait", "-n", namespace, "pods", "--all", "--for=delete", "--timeout=120s")
