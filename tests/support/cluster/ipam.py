"""Two ways to have addresses given out, measured in turn on the same cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from support.cluster.kubectl import Kubectl
from support.cluster.machine import Machine
from support.cluster.networks import host_local
from support.cluster.pods import (
    POLL_S,
    TIMEOUT_S,
    addresses,
    deployment,
    wait_gone,
    wait_running,
)
from support.cluster.report import Report
from support.program import until

ROUNDS = int(os.environ.get("IPLEDGER_E2E_ROUNDS", "3"))
WARM_PODS = 3
PODS = 50

_COUNT = "ls /var/lib/cni/networks/hostlocal 2>/dev/null | grep -c '^10' || true"


@dataclass(frozen=True, slots=True)
class Ipam:
    """Who gives out the addresses: how it becomes the network, and how many it has given."""

    name: str
    connect: Callable[[], None]
    held: Callable[[], int]
    annotations: dict[str, str] = field(default_factory=dict[str, str])


def hostlocal(*machines: Machine) -> Ipam:
    """host-local on these machines."""

    def connect() -> None:
        for machine in machines:
            machine.set_network(host_local("10.73.0.0/16"))

    def held() -> int:
        return sum(int(machine.run("sh", "-c", _COUNT)) for machine in machines)

    return Ipam("host-local", connect, held)


def compare(
    kubectl: Kubectl, namespace: str, ipams: tuple[Ipam, ...], report: Report, where: str
) -> list[set[str]]:
    """Fifty pods up and down, in turn and several times. The addresses of each round.

    The first pods of a node find cold caches: a few go before those that count.
    """
    took: dict[tuple[str, str], list[float]] = {}
    given: list[set[str]] = []
    for ipam in ipams:
        _round(kubectl, namespace, ipam, WARM_PODS)
    for _ in range(ROUNDS):
        for ipam in ipams:
            up_s, down_s, found = _round(kubectl, namespace, ipam, PODS)
            took.setdefault(("apply to all Running", ipam.name), []).append(up_s)
            took.setdefault(("scale to 0 until no address is held", ipam.name), []).append(down_s)
            given.append(found)
    for (what, name), times in sorted(took.items()):
        each = ", ".join(f"{one:.1f}" for one in times)
        report.add(f"{what}, {where}", name, f"median {median(times):.1f} s of {each}")
    return given


def _round(
    kubectl: Kubectl, namespace: str, ipam: Ipam, replicas: int
) -> tuple[float, float, set[str]]:
    """The seconds up and down, and the addresses."""
    ipam.connect()
    started = time.monotonic()
    kubectl.apply(deployment(namespace, ipam.name, replicas, **ipam.annotations))
    wait_running(kubectl, namespace, f"deployment/{ipam.name}")
    running = time.monotonic()
    found = addresses(kubectl, namespace)
    leaving = time.monotonic()
    kubectl("scale", "-n", namespace, "deployment", "--all", "--replicas=0")
    until(lambda: ipam.held() == 0, TIMEOUT_S, POLL_S)
    released = time.monotonic()
    wait_gone(kubectl, namespace)
    assert len(found) == replicas
    return running - started, released - leaving, set(found.values())
