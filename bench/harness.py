"""What all benchmarks share: the machine, a node that is up, percentiles, tables, verification."""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from support.nats_cluster import cluster
from support.node import Node, Operator
from support.replicas import replicas

from ipledger.cni.install import install_shim
from ipledger.events.embedded import find_server
from ipledger.events.names import REALM_DEFAULT

RESULTS = Path(__file__).with_name("results")
DRIVER = Path(__file__).with_name("driver.c")


@contextmanager
def node_up() -> Generator[Node]:
    """`ipledger up` over an empty directory; at the end its log must verify."""
    root = Path(tempfile.mkdtemp(prefix="ipledger-bench-"))
    node = Node(root, install_shim(root / "bin"))
    node.start()
    try:
        yield node
        verified = node.ipledger("verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
    finally:
        node.stop()
        shutil.rmtree(root)


@dataclass
class OpenRealm(Operator):
    """One engine on a nats-server that asks for no key, where any node can be played."""

    nats_url: str
    pid: int
    server: int
    realm: str = REALM_DEFAULT

    def server_pid(self) -> int:
        """The process id of the nats-server."""
        return self.server


@contextmanager
def engine_up() -> Generator[OpenRealm]:
    """`ipledger engine` over an empty directory; at the end its log must verify."""
    root = Path(tempfile.mkdtemp(prefix="ipledger-bench-"))
    shim = install_shim(root / "bin")
    try:
        with (
            cluster(root, size=1) as servers,
            replicas(root, servers.url, REALM_DEFAULT, shim) as engines,
        ):
            servers.start(0)
            engines.start(engines=1, agents=0)
            realm = OpenRealm(servers.url, engines.engines[0].pid, servers.servers[0].pid)
            yield realm
            verified = realm.ipledger("verify")
            assert verified.returncode == 0, verified.stdout + verified.stderr
    finally:
        shutil.rmtree(root)


def build_driver(folder: Path) -> Path:
    """Compile the spawn driver."""
    program = folder / "driver"
    subprocess.run(["cc", "-O2", "-o", str(program), str(DRIVER)], check=True)
    return program


def first_line(*command: str) -> str:
    """The first line that a program prints of itself."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip().partition("\n")[0]


def machine() -> dict[str, str]:
    """Where and with what the figures were measured."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    commit = first_line("git", "-C", str(RESULTS.parent), "rev-parse", "--short", "HEAD")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit,
        "cpu": f"{os.cpu_count()} x {models[0] if models else platform.machine()}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "nats-server": first_line(find_server(), "--version"),
        "nats-py": version("nats-py"),
        "host-local": first_line("dpkg-query", "-Wf", "${Version}", "containernetworking-plugins"),
        "settings": "sync_interval: always",
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which a share of the values lies."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def median_and_spread(values: Sequence[float], digits: int = 2) -> str:
    """`median (lowest to highest)` of several runs."""
    middle, low, high = (
        f"{value:,.{digits}f}" for value in (statistics.median(values), min(values), max(values))
    )
    return f"{middle} ({low} to {high})"


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has taken so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int, what: str = "VmRSS") -> float:
    """Resident memory of a process; `VmHWM` is its peak."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


class Plot(NamedTuple):
    """A curve that belongs to a table: one value for each label along the axis."""

    title: str
    axis: str
    labels: list[str]
    values: list[float]


def results_file() -> Path:
    """Where the figures of this commit and day are kept."""
    where = machine()
    return RESULTS / f"{where['date']}-{where['commit']}.json"


def report(
    name: str,
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    plots: Sequence[Plot] = (),
) -> None:
    """Print a table with the machine below it, and keep both with the commit's other results."""
    console = Console(width=160)
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    where = machine()
    console.print("; ".join(f"{key}: {value}" for key, value in where.items()))
    RESULTS.mkdir(exist_ok=True)
    path = results_file()
    kept: dict[str, Any] = {"machine": where, "tables": {}}
    if path.exists():
        kept = json.loads(path.read_text())
    kept["tables"][name] = {
        "title": title,
        "columns": list(columns),
        "rows": [list(row) for row in rows],
        "plots": [plot._asdict() for plot in plots],
    }
    path.write_text(json.dumps(kept, indent=1) + "\n")
