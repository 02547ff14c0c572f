"""A Spiderpool of 50,000 endpoints taken over: `ipledger import spiderpool`.

Then another of 10,000 pods of Deployments with auto pools, and one of 10,000 virtual machines.

The engine runs in `ipledger up`. The import is a process of its own, so that its memory is its
own. A third serves the cluster in pages that were made before: an API server's own cost is not
measured. All must be held afterwards, and the log must verify; a second import finds all of it, and
sends nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from harness import node_up, report, resident_mib
from lists import PAGE, not_found, page_of, pages, serve
from support.node import Node

from ipledger.cli.app import run
from ipledger.engine.client import EngineClient

EACH, NODES = 250, 1_000
_SPIDERPOOL = "/apis/spiderpool.spidernet.io/v2beta1"
_LABEL = "ipam.spidernet.io/"


@dataclass(frozen=True)
class Population:
    """So many pools whose pods are of an owner of that kind, with addresses in 10.NET.0.0/16."""

    title: str
    net: int
    pools: int
    owner: str = "Pod"

    @property
    def pods(self) -> int:
        """How many pods there are."""
        return self.pools * EACH

    def address(self, number: int) -> str:
        """The address of a pod of that number."""
        pool, index = divmod(number, EACH)
        return f"10.{self.net}.{pool}.{index + 1}"

    def uid(self, number: int) -> str:
        """The UID of a pod of that number."""
        return f"0f8fad5b-d9cb-469f-a165-{self.net:02d}{number:010d}"

    def owner_of(self, number: int) -> str:
        """The name of a pod's top owner."""
        return f"app-{number // EACH}" if self.owner == "Deployment" else f"web-{number}"

    def pod(self, number: int) -> dict[str, Any]:
        """A pod as an API server has it, with what real ones carry."""
        direct = {"Deployment": "ReplicaSet", "VirtualMachine": "VirtualMachineInstance"}
        reference = {
            "apiVersion": "v1",
            "kind": direct.get(self.owner, ""),
            "name": self.owner_of(number),
            "uid": "u",
            "controller": True,
        }
        return {
            "metadata": {
                "name": f"web-{number}",
                "namespace": f"shop-{self.net}",
                "uid": self.uid(number),
                "labels": {f"app.kubernetes.io/label-{n}": f"value-{n}" for n in range(6)},
                "ownerReferences": [reference] if self.owner in direct else [],
            },
            "spec": {
                "nodeName": f"node-{number % NODES}",
                "containers": [{"name": "web", "env": [{"name": "V", "value": "x" * 600}]}],
            },
            "status": {"phase": "Running", "podIPs": [{"ip": self.address(number)}]},
        }

    def endpoint(self, number: int) -> dict[str, Any]:
        """What Spiderpool says that the pod has."""
        ip = {
            "interface": "eth0",
            "ipv4": f"{self.address(number)}/24",
            "ipv4Pool": f"pool-{self.net}-{number // EACH}",
        }
        current = {"uid": self.uid(number), "node": f"node-{number % NODES}", "ips": [ip]}
        return {
            "metadata": {"name": f"web-{number}", "namespace": f"shop-{self.net}"},
            "status": {
                "current": current,
                "ownerControllerType": self.owner,
                "ownerControllerName": self.owner_of(number),
            },
        }

    def pool(self, index: int) -> dict[str, Any]:
        """A pool all of whose addresses are held; an auto pool where there are Deployments."""
        records = {
            self.address(number): {
                "pod": f"shop-{self.net}/web-{number}",
                "podUid": self.uid(number),
            }
            for number in range(index * EACH, (index + 1) * EACH)
        }
        prefix = f"10.{self.net}.{index}"
        owner = {
            "owner-spider-subnet": f"net-{index}",
            "owner-application-gv": "apps_v1",
            "owner-application-kind": "Deployment",
            "owner-application-namespace": f"shop-{self.net}",
            "owner-application-name": f"app-{index}",
            "interface": "eth0",
        }
        labels = {_LABEL + key: value for key, value in owner.items()}
        return {
            "metadata": {
                "name": f"pool-{self.net}-{index}",
                "labels": labels if self.owner == "Deployment" else {},
            },
            "spec": {"subnet": f"{prefix}.0/24", "ips": [f"{prefix}.1-{prefix}.{EACH}"]},
            "status": {"allocatedIPs": json.dumps(records), "allocatedIPCount": EACH},
        }

    def subnet(self, index: int) -> dict[str, Any]:
        """The subnet of an auto pool."""
        prefix = f"10.{self.net}.{index}"
        spec = {"subnet": f"{prefix}.0/24", "ips": [f"{prefix}.1-{prefix}.{EACH}"]}
        return {"metadata": {"name": f"net-{index}"}, "spec": spec}

    def deployment(self, index: int) -> dict[str, Any]:
        """A Deployment that has an auto pool."""
        subnet = json.dumps({"ipv4": [f"net-{index}"]})
        asks = {f"{_LABEL}subnet": subnet, f"{_LABEL}ippool-ip-number": "+0"}
        metadata = {"name": f"app-{index}", "namespace": f"shop-{self.net}", "uid": f"u-{index}"}
        template = {"metadata": {"annotations": asks}}
        return {"metadata": metadata, "spec": {"replicas": EACH, "template": template}}

    def machine(self, number: int) -> dict[str, Any]:
        """A virtual machine."""
        return {"metadata": {"name": f"web-{number}", "namespace": f"shop-{self.net}", "uid": "u"}}

    def lists(self) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """All lists, by their paths."""
        yield "/api/v1/pods", [self.pod(number) for number in range(self.pods)]
        yield "/apis/apps/v1/statefulsets", []
        yield f"{_SPIDERPOOL}/spiderippools", [self.pool(index) for index in range(self.pools)]
        yield f"{_SPIDERPOOL}/spiderendpoints", [self.endpoint(n) for n in range(self.pods)]
        if self.owner == "Deployment":
            yield f"{_SPIDERPOOL}/spidersubnets", [self.subnet(n) for n in range(self.pools)]
            yield "/apis/apps/v1/deployments", [self.deployment(n) for n in range(self.pools)]
        if self.owner == "VirtualMachine":
            machines = [self.machine(number) for number in range(self.pods)]
            yield "/apis/kubevirt.io/v1/virtualmachines", machines


PODS = Population("pods", 0, 200)
OTHERS = (
    Population("of Deployments, auto pools", 1, 40, "Deployment"),
    Population("virtual machines", 2, 40, "VirtualMachine"),
)


async def serve_all(population: Population, path: Path) -> None:
    """Serve a cluster, and write a kubeconfig."""
    found = {path: pages(objects) for path, objects in population.lists()}

    async def on_list(request: web.Request) -> web.StreamResponse:
        known = found.get(request.path)
        return not_found(request) if known is None else page_of(known, request)

    app = web.Application()
    app.router.add_get("/{path:.*}", on_list)
    await serve(app, path)


async def imported(node: Node, kubeconfig: Path, *more: str) -> dict[str, float]:
    """One import in a process of its own: what it took."""
    settings = {"IPLEDGER_NATS": node.nats_url, "IPLEDGER_REALM": node.realm, **node.identity()}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        str(kubeconfig),
        *more,
        stdout=subprocess.PIPE,
        env={**os.environ, **settings},
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, "the import failed"
    return dict(json.loads(out))


async def commits(node: Node) -> int:
    """How many commits the log has."""
    nc = await node.as_user()
    position = (await EngineClient(nc).status()).position
    await nc.close()
    return int(position.partition(".")[0])


async def measure(node: Node, folder: Path) -> list[tuple[str, dict[str, float], int]]:
    """Rehearse, import, and import once more; then the other populations."""
    path = folder / "pods"
    await serve_all(PODS, path)
    steps = [("--dry-run", path, ("--dry-run",)), ("import", path, ()), ("once more", path, ())]
    for other in OTHERS:
        path = folder / str(other.net)
        await serve_all(other, path)
        steps.append((f"import of {other.pods:,} {other.title}", path, ()))
    found: list[tuple[str, dict[str, float], int]] = []
    for name, kubeconfig, more in steps:
        before = await commits(node)
        figures = await imported(node, kubeconfig, *more)
        found.append((name, figures, await commits(node) - before))
    return found


def child(arguments: list[str]) -> int:
    """The import's process: its figures as JSON, and nothing of what it prints."""
    began = time.perf_counter()
    words = ["import", "spiderpool", "--kubeconfig", *arguments]
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        code = run(words)
    took = time.perf_counter() - began
    peak = resident_mib(os.getpid(), "VmHWM")
    print(json.dumps({"wall_s": took, "cpu_s": time.process_time(), "peak_mib": peak}))
    return code


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder, node_up() as node:
        found = asyncio.run(measure(node, Path(folder)))
        held = len(node.allocations())
        began = time.perf_counter()
        verified = node.ipledger("verify")
        verify_s = time.perf_counter() - began
        assert verified.returncode == 0, verified.stdout + verified.stderr
    assert held == PODS.pods + sum(other.pods for other in OTHERS), "an allocation was lost"
    rows = [
        [
            name,
            f"{figures['wall_s']:.1f} s",
            f"{figures['cpu_s']:.1f} s",
            f"{figures['peak_mib']:.0f} MiB",
            str(made),
        ]
        for name, figures, made in found
    ]
    rows.append(["verify afterwards", f"{verify_s:.1f} s", "", "", ""])
    title = f"{PODS.pools} pools and {PODS.pods:,} endpoints of Spiderpool, in pages of {PAGE}"
    report("importing", title, ("what", "time", "processor", "peak memory", "commits"), rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(child(sys.argv[1:]) if len(sys.argv) > 1 else main())
