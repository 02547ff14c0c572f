"""ipledger in the whole cluster: two machines, engine, agents, controller, collector, webhook.

It goes with the last test of this folder, and its log must verify then.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from support.cluster.control_plane import ControlPlane
from support.cluster.kubectl import Kubectl, create_namespace
from support.cluster.machine import Machine
from support.cluster.manifests import POOLS, RESERVATIONS, SUBNETS
from support.cluster.pods import POLL_S, TIMEOUT_S, bystander
from support.cluster.site import Site, site
from support.program import until

from ipledger.events.embedded import EmbeddedServer

_numbers = count(1)


@pytest.fixture(scope="package")
def second(cluster: ControlPlane, folder: Path) -> Iterator[Machine]:
    """Another machine."""
    machine = Machine(2, folder / "installed-node-2", cluster)
    try:
        machine.start()
        yield machine
    finally:
        machine.stop()
        cluster.kubectl("delete", "node", machine.name)


@pytest.fixture(scope="package")
def installed(
    cluster: ControlPlane,
    machine: Machine,
    second: Machine,
    folder: Path,
    nats_server: EmbeddedServer,
) -> Iterator[Site]:
    """The whole of ipledger. In the end its log must verify.

    The collector frees nothing while an API server knows no pod at all, so there is always one.
    """
    cluster.kubectl.apply(bystander())
    with site(folder / "site", nats_server.url, cluster, (machine, second)) as made:
        yield made
        verified = made.ipledger("verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
    cluster.kubectl("delete", "pod", "bystander", "--now")


@pytest.fixture(autouse=True)
def nothing_is_left(installed: Site, kubectl: Kubectl) -> Iterator[None]:
    """Behind each test every address is free, and pools, subnets and reservations can go."""
    yield
    until(lambda: installed.allocations() == [], TIMEOUT_S, POLL_S)
    for kind in (POOLS, SUBNETS, RESERVATIONS):
        kubectl("delete", kind, "--all", "--wait", "--timeout=60s")
    assert installed.pools() == {}


@pytest.fixture
def namespace(request: pytest.FixtureRequest, installed: Site, kubectl: Kubectl) -> Iterator[str]:
    """A namespace of the test's own. Before it goes, pods and log must agree."""
    short = request.node.name.replace("_", "-").partition("[")[0].removeprefix("test-a-")
    name = f"{short[:40].strip('-')}-{next(_numbers)}"
    create_namespace(kubectl, name)
    yield name
    installed.assert_agrees(kubectl)
    kubectl("delete", "namespace", name, "--wait=false")
