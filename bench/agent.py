"""One node's agent as a process of its own: 110 pods at once, and what it and the shim weigh.

110 pods are the kubelet's default limit. Each round starts 110 shims at once through the C driver,
against `ipledger agent` and `ipledger engine` on a nats-server of their own, and ends them again.
The shim's memory is looked at while it waits for an agent that was stopped (SIGSTOP). A second
agent is told of a cluster, whose API server is not there.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from add import Contender
from harness import build_driver, median_and_spread, report, resident_mib
from lists import write_kubeconfig
from support.nats_cluster import cluster
from support.program import until
from support.replicas import AgentProgram, Replicas, replicas

from ipledger.cni.install import install_shim
from ipledger.events.facts import PoolSpec

PODS = 110
ROUNDS = 7
POOL = PoolSpec("pool", 0, "10.0.0.0/16", ips=("10.0.0.1-10.0.255.0",), default=True)


def burst_ms(pods: Contender) -> tuple[float, float]:
    """110 ADDs at once: until the last one ended, and the slowest call, in milliseconds."""
    started = time.perf_counter()
    calls = pods.add(PODS, PODS)
    return (time.perf_counter() - started) * 1000, max(calls)


def shim_mib(agent: AgentProgram, config: Path) -> float:
    """The most memory that a shim has had when it waits for an answer."""
    os.kill(agent.program.pid, signal.SIGSTOP)
    environment = {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": "waits",
        "CNI_NETNS": "/x",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": "/usr/lib/cni",
    }
    with (
        config.open() as stdin,
        subprocess.Popen(
            [agent.shim], env=environment, stdin=stdin, stdout=subprocess.DEVNULL
        ) as shim,
    ):
        waits = Path(f"/proc/{shim.pid}/wchan")
        until(lambda: "poll" in waits.read_text(), 5.0)
        memory = resident_mib(shim.pid, "VmHWM")
        os.kill(agent.program.pid, signal.SIGCONT)
        assert shim.wait() == 0
    return memory


def in_cluster_mib(realm: Replicas, root: Path) -> float:
    """The memory of an agent that watches a cluster, once it is ready."""
    path = root / "kubeconfig"
    write_kubeconfig(path, 1)
    agent = realm.add_agent(kubeconfig=path)
    agent.start()
    return resident_mib(agent.program.pid)


def measure(realm: Replicas, root: Path) -> list[list[str]]:
    """The rows of the table."""
    agent = realm.agents[0]
    fresh = resident_mib(agent.program.pid)
    config = root / "config.json"
    config.write_text(json.dumps(agent.config()))
    pods = Contender("ipledger", str(agent.shim), config, build_driver(root))
    pods.add(10)
    rounds: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        rounds.append(burst_ms(pods))
        pods.clear()
    waiting = shim_mib(agent, config)
    assert realm.pools()["pool"].allocated == 1, "an address was leaked"
    verified = realm.ipledger("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    return [
        [f"{PODS} pods at once, all, ms", median_and_spread([total for total, _ in rounds], 0)],
        ["the slowest of them, ms", median_and_spread([slowest for _, slowest in rounds], 0)],
        ["the agent's memory when it is ready, MiB", f"{fresh:.1f}"],
        ["at its peak, MiB", f"{resident_mib(agent.program.pid, 'VmHWM'):.1f}"],
        ["when it is ready in a cluster, MiB", f"{in_cluster_mib(realm, root):.1f}"],
        ["a waiting shim's memory, MiB", f"{waiting:.2f}"],
    ]


def main() -> int:
    """Measure and print."""
    root = Path(tempfile.mkdtemp(prefix="ipledger-bench-"))
    try:
        with (
            cluster(root, size=1) as servers,
            replicas(root, servers.url, "bench", install_shim(root / "bin")) as realm,
        ):
            servers.start(0)
            realm.start(engines=1, agents=1)
            realm.apply(POOL)
            rows = measure(realm, root)
    finally:
        shutil.rmtree(root)
    report("agent", f"One agent, {ROUNDS} rounds", ("what", "figure"), rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
