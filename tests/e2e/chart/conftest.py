"""The chart in the cluster: three machines with kube-proxy, and the images that images.sh built."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from support.cluster.control_plane import ControlPlane
from support.cluster.installation import IMAGES, NAMESPACE, POOL, Installation
from support.cluster.kubectl import Kubectl, create_namespace
from support.cluster.machine import Machine
from support.cluster.manifests import POOLS
from support.cluster.pods import POLL_S, TIMEOUT_S
from support.cluster.volumes import offer
from support.program import until

_numbers = count(1)


@pytest.fixture(scope="package")
def machines(
    cluster: ControlPlane, machine: Machine, folder: Path
) -> Iterator[tuple[Machine, ...]]:
    """Three machines that know services and have the images."""
    more = [Machine(number, folder / f"chart-node-{number}", cluster) for number in (4, 5)]
    try:
        for one in more:
            one.start()
        for one in (machine, *more):
            one.start_proxy()
            for name in ("ipledger.tar", "nats.tar"):
                one.load(IMAGES / name)
        yield (machine, *more)
    finally:
        for one in more:
            one.stop()
            cluster.kubectl("delete", "node", one.name)
        for left in (*machine.conf_dir.iterdir(), machine.bin_dir / "ipledger"):
            left.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def operator(
    request: pytest.FixtureRequest,
    cluster: ControlPlane,
    machines: tuple[Machine, ...],
    folder: Path,
) -> Iterator[Installation]:
    """Somebody at a shell with the page open, who has installed nothing yet."""
    name = request.path.stem.removeprefix("test_").replace("_", "-")
    made = Installation(folder / name, cluster.kubectl, machines)
    (made.folder / "pool.yaml").write_text(POOL)
    offer(cluster.kubectl, machines, 4, name)
    yield made
    # What a test that was to uninstall it did not.
    cluster.kubectl("delete", POOLS, "--all", "--timeout=60s")
    made.shell.run("helm uninstall ipledger -n ipledger")
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s")


@pytest.fixture
def shop(operator: Installation, kubectl: Kubectl) -> Iterator[str]:
    """A namespace, which pods and log agree about before it goes."""
    name = f"shop-{next(_numbers)}"
    create_namespace(kubectl, name)
    yield name
    operator.assert_agrees(name)
    kubectl("delete", "namespace", name, "--wait=false")
    until(lambda: operator.allocations() == [], TIMEOUT_S, POLL_S)
