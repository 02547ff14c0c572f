"""A real cluster for the end-to-end tests. `make e2e` runs them; an ordinary run passes them over.

`tests/e2e/run.sh` makes the namespaces, and says by IPLEDGER_E2E_DIR that it did.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cluster.control_plane import ETCD, ControlPlane
from support.cluster.kubectl import Kubectl, create_namespace
from support.cluster.machine import Machine
from support.cluster.report import Report
from support.node import Node

from ipledger.cni.install import install_shim

_DIR = os.environ.get("IPLEDGER_E2E_DIR")
_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ipledger-e2e"
_CRDS = Path(__file__).parents[2] / "deploy/crds"

collect_ignore_glob = [] if _DIR else ["test_*.py", "*/test_*.py"]

_report = Report()


@pytest.fixture(scope="session")
def folder() -> Path:
    """The folder of everything that the cluster writes."""
    assert _DIR is not None
    return Path(_DIR)


@pytest.fixture(scope="session")
def control_plane(folder: Path) -> Iterator[ControlPlane]:
    """A control plane without nodes and without our resource definitions."""
    plane = ControlPlane(folder / "control-plane", _CACHE / "bin")
    try:
        plane.start()
        os.environ["IPLEDGER_E2E_KUBECONFIG"] = str(plane.kubeconfig)
        os.environ["IPLEDGER_E2E_ETCD"] = ETCD
        yield plane
    finally:
        plane.stop()


@pytest.fixture(scope="session")
def cluster(control_plane: ControlPlane) -> ControlPlane:
    """A control plane that knows our resources."""
    control_plane.kubectl("apply", "-k", str(_CRDS))
    control_plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    return control_plane


@pytest.fixture(scope="session")
def kubectl(cluster: ControlPlane) -> Kubectl:
    """kubectl as the administrator of the cluster."""
    return cluster.kubectl


@pytest.fixture(scope="session")
def machine(cluster: ControlPlane, folder: Path) -> Iterator[Machine]:
    """One machine, which has the plugins but no network yet."""
    machine = Machine(1, folder / "node-1", cluster)
    try:
        machine.start()
        install_shim(machine.bin_dir)
        yield machine
    finally:
        machine.stop()


@pytest.fixture
def ledger(tmp_path: Path, machine: Machine) -> Iterator[Node]:
    """A running `ipledger up` for the machine. In the end its log must verify."""
    node = Node(tmp_path, machine.bin_dir / "ipledger", machine.name)
    node.start()
    yield node
    verified = node.ipledger("verify")
    assert node.stop() == 0, node.log.read_text()
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.fixture
def namespace(request: pytest.FixtureRequest, kubectl: Kubectl) -> Iterator[str]:
    """A namespace of the test's own, which goes with everything in it."""
    name = request.node.name.replace("_", "-").partition("[")[0][:60].rstrip("-")
    create_namespace(kubectl, name)
    yield name
    kubectl("delete", "namespace", name, "--wait", "--timeout=120s")


@pytest.fixture(scope="session")
def report() -> Report:
    """Measured figures; they are printed at the end, and judged by nobody."""
    return _report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _report.lines():
        terminalreporter.write_line(line)
