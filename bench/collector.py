"""A full comparison: 100,000 allocations with 100,000 pods less 1,000, which are zombies.

The engine runs in `ipledger up`. The collector is another process, so that its memory is its own.
A third serves pods of about 2 KiB each, in pages that were made before, and nothing else: an API
server's own cost is not measured. All zombies must be freed, and nothing else; then it compares
once more.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import nats
import uvloop
from aiohttp import web
from harness import OpenRealm, engine_up, report, resident_mib
from lists import not_found, page_of, pages, serve

from ipledger.engine.client import EngineClient
from ipledger.engine.commands import Allocate
from ipledger.events.facts import Pod, PoolSpec
from ipledger.gc.collector import Collector
from ipledger.gc.report import Outcome
from ipledger.gc.settings import Settings
from ipledger.gc.view import View
from ipledger.projections.cluster.live.connect import connected

PODS, ZOMBIES, NODES = 100_000, 1_000, 1_000
AT_ONCE = 256
POOL = PoolSpec("pool", 0, "10.0.0.0/8", ips=("10.0.0.1-10.255.0.0",), default=True)


def pod_of(number: int) -> Pod:
    """The pod of that number."""
    return Pod(f"ns-{number % 100}", f"web-{number}", str(uuid.UUID(int=number, version=4)))


def pod_json(number: int) -> dict[str, Any]:
    """A pod as an API server has it, with what real ones carry."""
    pod = pod_of(number)
    labels = {f"app.kubernetes.io/label-{n}": f"value-{n}-of-{number}" for n in range(6)}
    container = {
        "name": "web",
        "image": "registry.example.com/team/web:1.2.3",
        "env": [{"name": f"VARIABLE_{n}", "value": "x" * 20} for n in range(10)],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets", "readOnly": True}],
    }
    return {
        "metadata": {
            "name": pod.name,
            "namespace": pod.namespace,
            "uid": pod.uid,
            "resourceVersion": str(number + 1),
            "labels": labels,
            "annotations": {"kubectl.kubernetes.io/last-applied": "x" * 300},
        },
        "spec": {"nodeName": f"node-{number % NODES}", "containers": [container]},
        "status": {
            "phase": "Running",
            "podIPs": [{"ip": "10.0.0.1"}],
            "containerStatuses": [{"name": "web", "state": {"running": {}}, "ready": True}],
        },
    }


class Server:
    """Serves lists and single objects; watches stay silent."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        live = [pod_json(number) for number in range(ZOMBIES, PODS)]
        self._pods = {(p["metadata"]["namespace"], p["metadata"]["name"]): p for p in live}
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        nodes = [{"metadata": {"name": f"node-{n}"}, "status": ready} for n in range(NODES)]
        self._pages = {"pods": pages(live), "nodes": pages(nodes)}

    async def start(self, kubeconfig: Path) -> None:
        """Listen, and write a kubeconfig."""
        app = web.Application()
        app.router.add_get("/api/v1/{plural}", self._on_list)
        app.router.add_get("/api/v1/namespaces/{ns}/pods/{name}", self._on_get)
        app.router.add_get("/api/v1/nodes/{name}", self._on_node)
        await serve(app, kubeconfig)

    async def _on_list(self, request: web.Request) -> web.StreamResponse:
        plural = request.match_info["plural"]
        self.calls[f"list {plural}"] += 1
        return page_of(self._pages[plural], request)

    async def _on_get(self, request: web.Request) -> web.StreamResponse:
        self.calls["get pods"] += 1
        found = self._pods.get((request.match_info["ns"], request.match_info["name"]))
        return not_found(request) if found is None else web.json_response(found)

    async def _on_node(self, request: web.Request) -> web.StreamResponse:
        self.calls["get nodes"] += 1
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        metadata = {"name": request.match_info["name"]}
        return web.json_response({"metadata": metadata, "status": ready})


async def fill(url: str) -> None:
    """An allocation for each pod, zombies included."""
    nc = await nats.connect(url)
    engine = EngineClient(nc, timeout_s=120.0)
    numbers = iter(range(PODS))

    async def work() -> None:
        for number in numbers:
            node = f"node-{number % NODES}"
            sandbox = f"{number:064x}"
            pod = pod_of(number)
            command = Allocate(pod=pod, sandbox=sandbox, interface="eth0", node=node)
            await engine.allocate(command)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    await nc.close()


async def collect(url: str, kubeconfig: Path) -> dict[str, float]:
    """The collector's process: list everything, compare, compare again."""
    settings = Settings(min_age_s=0)
    nc = await nats.connect(url)
    async with connected(kubeconfig) as api:
        view = View.of(api, settings.interval_s, lambda: 0.5)
        collector = Collector(EngineClient(nc, timeout_s=60.0), view, settings)
        start_mib = resident_mib(os.getpid(), "VmHWM")
        started = time.perf_counter()
        await view.sync(120)
        synced = time.perf_counter()
        first = await collector.compare()
        compared = time.perf_counter()
        second = await collector.compare()
        again = time.perf_counter()
    await nc.close()
    freed = {finding.pod for finding in first.findings if finding.outcome == Outcome.FREED}
    assert freed == {pod_of(number).name for number in range(ZOMBIES)}, "not all and only they"
    assert (second.total, second.zombies) == (PODS - ZOMBIES, 0)
    return {
        "sync_s": synced - started,
        "compare_s": compared - synced,
        "again_s": again - compared,
        "cpu_s": time.process_time(),
        "start_mib": start_mib,
        "peak_mib": resident_mib(os.getpid(), "VmHWM"),
    }


async def measure(node: OpenRealm, folder: Path) -> tuple[dict[str, float], Counter[str], int]:
    """Serve, let the collector's process collect, and count commits."""
    server = Server()
    kubeconfig = folder / "kubeconfig"
    await server.start(kubeconfig)
    await fill(node.nats_url)
    before = await _commits(node)
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, node.nats_url, str(kubeconfig), stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, "the collector failed"
    return json.loads(out), server.calls, await _commits(node) - before


async def _commits(node: OpenRealm) -> int:
    nc = await nats.connect(node.nats_url)
    position = (await EngineClient(nc).status()).position
    await nc.close()
    return int(position.partition(".")[0])


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder, engine_up() as node:
        node.apply(POOL)
        figures, calls, commits = uvloop.run(measure(node, Path(folder)))
        held = len(node.allocations())
    assert held == PODS - ZOMBIES, "an allocation was lost or left"
    rows = [
        ["list all pods and nodes", f"{figures['sync_s']:.2f} s"],
        ["compare, read 1,000 zombies again, free them", f"{figures['compare_s']:.2f} s"],
        ["compare once more", f"{figures['again_s']:.2f} s"],
        ["processor time of the collector", f"{figures['cpu_s']:.2f} s"],
        [
            "memory at start, at its peak",
            f"{figures['start_mib']:.0f}, {figures['peak_mib']:.0f} MiB",
        ],
        ["calls", ", ".join(f"{count} {call}" for call, count in sorted(calls.items()))],
        ["commits for the releases", str(commits)],
    ]
    title = f"{PODS:,} allocations with {PODS - ZOMBIES:,} pods"
    report("collector", title, ("what", "figure"), rows)
    return 0


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(uvloop.run(collect(sys.argv[1], Path(sys.argv[2])))))
        raise SystemExit(0)
    raise SystemExit(main())
