"""What a large cluster costs: pods decoded and mirrored, against kubernetes-asyncio's models.

Pages of pods as an API server sends them (about 3 KB each) are made and decoded one by one, so
that the memory measured is that of what is kept. Each measurement has a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from harness import median_and_spread, report

PODS = 100_000
FEW = 20_000  # what the models are given: they take most of a millisecond each
PAGE = 500
ROUNDS = 3
_ENVIRONMENT = [{"name": f"SETTING_{n}", "value": "x" * 40} for n in range(12)]


def pod(number: int) -> dict[str, Any]:
    """A pod of one of many Deployments, running."""
    application, node = f"app-{number // 20}", f"node-{number % 1000}.example.com"
    container = f"registry.example.com/team/{application}:1.0"
    mounts = [{"name": f"volume-{n}", "mountPath": f"/data/{n}"} for n in range(4)]
    owner = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": f"{application}-5d4f8c7b9",
        "uid": f"3f1c8f52-9f3b-4a5f-9f11-{number // 20:012d}",
        "controller": True,
        "blockOwnerDeletion": True,
    }
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": "2026-11-22T12:00:00Z"}
        for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
    ]
    status = {
        "name": "main",
        "state": {"running": {"startedAt": "2026-11-22T12:00:00Z"}},
        "lastState": {},
        "ready": True,
        "restartCount": 0,
        "image": container,
        "imageID": f"{container}@sha256:{number:064x}",
        "containerID": f"containerd://{number:064x}",
    }
    return {
        "metadata": {
            "name": f"{application}-5d4f8c7b9-{number:05d}",
            "generateName": f"{application}-5d4f8c7b9-",
            "namespace": f"team-{number // 500}",
            "uid": f"9f3b8f52-9f3b-4a5f-9f11-{number:012d}",
            "resourceVersion": str(1_000_000 + number),
            "creationTimestamp": "2026-11-22T12:00:00Z",
            "labels": {"app": application, "tier": "web", "pod-template-hash": "5d4f8c7b9"},
            "annotations": {"prometheus.io/scrape": "true", "checksum/config": f"{number:064x}"},
            "ownerReferences": [owner],
        },
        "spec": {
            "nodeName": node,
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "serviceAccountName": "default",
            "volumes": [{"name": f"volume-{n}", "emptyDir": {}} for n in range(4)],
            "containers": [
                {
                    "name": "main",
                    "image": container,
                    "env": _ENVIRONMENT,
                    "volumeMounts": mounts,
                    "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
                }
            ],
            "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute"}],
        },
        "status": {
            "phase": "Running",
            "podIP": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
            "podIPs": [{"ip": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"}],
            "conditions": conditions,
            "containerStatuses": [status],
            "startTime": "2026-11-22T12:00:00Z",
        },
    }


def pages(count: int) -> Iterator[bytes]:
    """The pages of a list of pods."""
    for start in range(0, count, PAGE):
        items = [pod(number) for number in range(start, min(start + PAGE, count))]
        version = {"resourceVersion": "2000000"}
        listed = {"kind": "PodList", "apiVersion": "v1", "metadata": version, "items": items}
        yield json.dumps(listed, separators=(",", ":")).encode()


def resident_kib() -> int:
    """The memory that this process has now."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])


Take: TypeAlias = Callable[[bytes], object]


def measured(count: int, make: Callable[[], Take]) -> dict[str, float]:
    """CPU time of taking all pages, and the memory that it leaves held, per pod."""
    for page in pages(PAGE):  # what is paid once
        make()(page)
    take = make()
    kept: list[object] = []
    spent, size = 0.0, 0
    before = resident_kib()
    for page in pages(count):
        size += len(page)
        started = time.process_time()
        kept.append(take(page))
        spent += time.process_time() - started
    grown = resident_kib() - before
    return {"us": spent / count * 1e6, "bytes": grown * 1024 / count, "json": size / count}


def ours(count: int) -> dict[str, float]:
    """Decoded and folded into a mirror, as the watch does."""
    from ipledger.projections.cluster.kinds import PODS as KIND
    from ipledger.projections.cluster.live.pages import Decoding
    from ipledger.projections.cluster.mirror import Mirror
    from ipledger.projections.cluster.pods import Pod

    decoding = Decoding(KIND)

    def make() -> Take:
        mirror = Mirror[Pod]()

        def take(page: bytes) -> Mirror[Pod]:
            mirror.put_page(decoding.page(page).objects)
            return mirror

        return take

    return measured(count, make)


def models(count: int) -> dict[str, float]:
    """Read by the library, as its `list_pod_for_all_namespaces` does, and kept."""
    from kubernetes_asyncio import client

    async def run() -> dict[str, float]:
        api: Any = client.ApiClient()

        class Response:
            def __init__(self, data: str) -> None:
                self.data = data

        def take(page: bytes) -> object:
            return api.deserialize(Response(page.decode()), "V1PodList")

        found = measured(count, lambda: take)
        await api.close()
        return found

    return asyncio.run(run())


def alone(what: str, count: int) -> dict[str, float]:
    """A measurement in a process of its own."""
    command = [sys.executable, __file__, what, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def row(name: str, found: list[dict[str, float]], count: int) -> list[str]:
    """A line of the table."""
    total = f"{sum(one['bytes'] for one in found) / len(found) * count / 2**20:.0f} MiB"
    kept = median_and_spread([one["bytes"] for one in found])
    return [name, f"{count:,}", median_and_spread([one["us"] for one in found]), kept, total]


def main() -> int:
    """Measure and print; or, with arguments, measure one thing."""
    if len(sys.argv) == 3:
        sys.stdout.write(
            json.dumps({"ours": ours, "models": models}[sys.argv[1]](int(sys.argv[2])))
        )
        return 0
    pairs = [(alone("ours", FEW), alone("models", FEW)) for _ in range(ROUNDS)]
    large = [alone("ours", PODS) for _ in range(3)]
    ratios = [[theirs[what] / mine[what] for mine, theirs in pairs] for what in ("us", "bytes")]
    table = [
        row("ipledger", [mine for mine, _ in pairs], FEW),
        row("models of kubernetes-asyncio", [theirs for _, theirs in pairs], FEW),
        ["models to ipledger", "", *(median_and_spread(ratio) for ratio in ratios), ""],
        row("ipledger", large, PODS),
    ]
    columns = ("what", "pods", "µs of CPU a pod", "bytes held a pod", "held in all")
    report("cluster", f"Pods of {large[0]['json'] / 1024:.1f} KB, listed", columns, table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
