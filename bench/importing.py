"""A Spiderpool of 200 pools and 50,000 endpoints taken over: `ipledger import spiderpool`.

The engine runs in `ipledger up`. The import is a process of its own, so that its memory is its
own. A third serves the cluster in pages that were made before: an API server's own cost is not
measured. All must be held afterwards, and the log must verify; a second import finds all of it.
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
from pathlib import Path
from typing import Any

import nats
from aiohttp import web
from collector import PAGE, pages, peak_mib
from harness import node_up, report
from support.node import Node

from ipledger.cli.app import run
from ipledger.engine.client import EngineClient

POOLS, EACH, NODES = 200, 250, 1_000
ENDPOINTS = POOLS * EACH
_SPIDERPOOL = "/apis/spiderpool.spidernet.io/v2beta1"


def address_of(number: int) -> str:
    """The address of a pod of that number."""
    pool, index = divmod(number, EACH)
    return f"10.0.{pool}.{index + 1}"


def pod(number: int) -> dict[str, Any]:
    """A pod as an API server has it, with what real ones carry."""
    return {
        "metadata": {
            "name": f"web-{number}",
            "namespace": "shop",
            "uid": f"0f8fad5b-d9cb-469f-a165-{number:012d}",
            "labels": {f"app.kubernetes.io/label-{n}": f"value-{n}" for n in range(6)},
        },
        "spec": {
            "nodeName": f"node-{number % NODES}",
            "containers": [{"name": "web", "env": [{"name": "V", "value": "x" * 600}]}],
        },
        "status": {"phase": "Running", "podIPs": [{"ip": address_of(number)}]},
    }


def endpoint(number: int) -> dict[str, Any]:
    """What Spiderpool says that the pod has."""
    ip = {
        "interface": "eth0",
        "ipv4": f"{address_of(number)}/24",
        "ipv4Pool": f"pool-{number // EACH}",
    }
    uid = f"0f8fad5b-d9cb-469f-a165-{number:012d}"
    return {
        "metadata": {"name": f"web-{number}", "namespace": "shop"},
        "status": {
            "current": {"uid": uid, "node": f"node-{number % NODES}", "ips": [ip]},
            "ownerControllerType": "Pod",
            "ownerControllerName": f"web-{number}",
        },
    }


def pool(index: int) -> dict[str, Any]:
    """A pool all of whose addresses but a few are held."""
    records = {
        address_of(number): {
            "pod": f"shop/web-{number}",
            "podUid": f"0f8fad5b-d9cb-469f-a165-{number:012d}",
        }
        for number in range(index * EACH, (index + 1) * EACH)
    }
    return {
        "metadata": {"name": f"pool-{index}"},
        "spec": {"subnet": f"10.0.{index}.0/24", "ips": [f"10.0.{index}.1-10.0.{index}.254"]},
        "status": {"allocatedIPs": json.dumps(records), "allocatedIPCount": EACH},
    }


class Server:
    """Serves lists."""

    def __init__(self) -> None:
        self._lists = {
            "/api/v1/pods": pages([pod(number) for number in range(ENDPOINTS)]),
            "/apis/apps/v1/statefulsets": [_EMPTY],
            f"{_SPIDERPOOL}/spiderippools": pages([pool(index) for index in range(POOLS)]),
            f"{_SPIDERPOOL}/spiderendpoints": pages([endpoint(n) for n in range(ENDPOINTS)]),
        }

    async def start(self, folder: Path) -> Path:
        """Listen, and write a kubeconfig."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._on_list)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        path = folder / "kubeconfig"
        cluster = {"server": f"http://127.0.0.1:{runner.addresses[0][1]}"}
        config = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": "t"}}],
        }
        path.write_text(json.dumps(config))
        return path

    async def _on_list(self, request: web.Request) -> web.StreamResponse:
        found = self._lists.get(request.path)
        if found is None:
            return web.json_response({"code": 404, "reason": "NotFound"}, status=404)
        page = int(request.query.get("continue", "0"))
        return web.Response(body=found[page], content_type="application/json")


_EMPTY = json.dumps({"metadata": {"resourceVersion": "1"}, "items": []}).encode()


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
    nc = await nats.connect(node.nats_url)
    position = (await EngineClient(nc).status()).position
    await nc.close()
    return int(position.partition(".")[0])


async def measure(node: Node, folder: Path) -> list[tuple[str, dict[str, float], int]]:
    """Rehearse, import, and import once more."""
    kubeconfig = await Server().start(folder)
    found: list[tuple[str, dict[str, float], int]] = []
    for name, more in (("--dry-run", ("--dry-run",)), ("import", ()), ("once more", ())):
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
    figures = {"wall_s": took, "cpu_s": time.process_time(), "peak_mib": peak_mib()}
    print(json.dumps(figures))
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
    assert held == ENDPOINTS, "an allocation was lost"
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
    title = f"{POOLS} pools and {ENDPOINTS:,} endpoints of Spiderpool, in pages of {PAGE}"
    report("importing", title, ("what", "time", "processor", "peak memory", "commits"), rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(child(sys.argv[1:]) if len(sys.argv) > 1 else main())
