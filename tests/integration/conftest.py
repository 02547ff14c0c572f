"""Real programs: the shim, `ipledger up`, CNI plugins in network namespaces.

What cannot run here (no root, no plugins) is skipped with its reason; under CI a skip fails.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from support.node import Node

from ipledger.cni.install import install_shim


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"skipped under CI: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_shim(tmp_path_factory.mktemp("bin"))


@pytest.fixture
def node(tmp_path: Path, shim: Path) -> Iterator[Node]:
    """A node that is up."""
    node = Node(tmp_path, shim)
    node.start()
    yield node
    code = node.stop()
    assert code == 0, node.log.read_text()


@pytest.fixture
def needs_plugins() -> None:
    """Root, iproute2 and the CNI plugins."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    for program in ("/usr/lib/cni/bridge", "ip", "ping", "nsenter"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (see `make debian`)")
