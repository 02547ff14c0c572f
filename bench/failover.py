"""How long nothing is allocated when the leader is killed with SIGKILL, under load.

Three `ipledger engine` processes on one durable nats-server; clients ask for the next pod as soon
as the last one is answered. Ten times, the leader is killed: the gap is from the last allocation
answered before that to the first one after. Afterwards the log is verified, and holds every
answered allocation.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import nats
import uvloop
from harness import report
from nats.aio.client import Client as NatsClient
from support.cluster import cluster
from support.replicas import Replicas, replicas

from ipledger.engine.client import EngineClient
from ipledger.engine.commands import Allocate
from ipledger.events.facts import Pod, PoolSpec

ENGINES = 3
KILLS = 10
CLIENTS = 16
POOL = PoolSpec("pool", 0, "10.0.0.0/8", ips=("10.0.0.1-10.255.0.0",), default=True)


@dataclass
class Load:
    """Clients in a thread of their own, and when each allocation was answered, in seconds."""

    url: str
    realm: str
    answered: list[float] = field(default_factory=list[float])
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Ask until `stop`."""
        uvloop.run(self._clients())

    async def _clients(self) -> None:
        nc = await nats.connect(self.url)
        await asyncio.gather(*(self._client(nc, number) for number in range(CLIENTS)))
        await nc.close()

    async def _client(self, nc: NatsClient, number: int) -> None:
        client = EngineClient(nc, self.realm, timeout_s=60.0)
        count = 0
        while not self.stop.is_set():
            name = f"pod-{number}-{count}"
            count += 1
            pod = Pod("bench", name, name)
            add = Allocate(pod=pod, sandbox=name, interface="eth0", node=f"node-{number}")
            await client.allocate(add)
            self.answered.append(time.perf_counter())

    def wait(self, more: int) -> None:
        """Wait until so many more were answered."""
        goal = len(self.answered) + more
        while len(self.answered) < goal:
            time.sleep(0.001)


def gap(realm: Replicas, load: Load) -> float:
    """Kill the leader once; seconds without an answer."""
    leader = realm.leader()
    load.wait(500)
    leader.kill()
    killed = time.perf_counter()
    load.wait(500)
    leader.launch()
    leader.wait_ready()
    before = max(moment for moment in load.answered if moment <= killed)
    # Answers that were on their way at the kill still come within a few milliseconds.
    after = [moment for moment in load.answered if moment > before]
    return max(b - a for a, b in zip([before, *after], after, strict=False))


def measure(root: Path) -> list[float]:
    """The gaps of all kills, in seconds; fails if anything answered was lost or doubled."""
    with (
        cluster(root, size=1) as servers,
        replicas(root, servers.url, "bench", root) as realm,
    ):
        servers.start(0)
        realm.start(engines=ENGINES, agents=0)
        realm.apply(POOL)
        load = Load(servers.url, "bench")
        clients = threading.Thread(target=load.run)
        clients.start()
        gaps = [gap(realm, load) for _ in range(KILLS)]
        load.stop.set()
        clients.join()
        assert realm.pools()["pool"].allocated == len(load.answered), "lost or doubled"
        verified = realm.ipledger("verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
    return gaps


def main() -> int:
    """Measure and print."""
    root = Path(tempfile.mkdtemp(prefix="ipledger-bench-"))
    try:
        gaps = measure(root)
    finally:
        shutil.rmtree(root)
    cells = [f"{value:.2f}" for value in (statistics.median(gaps), min(gaps), max(gaps))]
    columns = ("kills", "clients", "median s", "lowest s", "highest s")
    report(
        "failover",
        "Without an answer when the leader is killed",
        columns,
        [[str(KILLS), str(CLIENTS), *cells]],
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
