"""How long a review takes: 1,000 of them over TLS, with webhook and engine in one process.

The plain `check` query of the same pool, without the webhook, tells how much of it is NATS and
the engine.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import nats
import uvloop
from harness import percentile, report
from support.certificates import Authority
from support.engine import running_engine

from ipledger.engine.client import EngineClient
from ipledger.engine.commands import ApplyPool
from ipledger.engine.metrics.exposition import Exposition
from ipledger.events.embedded import EmbeddedServer
from ipledger.events.facts import PoolSpec
from ipledger.kube.certificates import Certificates
from ipledger.kube.webhook import Webhook

REVIEWS = 1_000
POOLS = 1_000
API_VERSION = "spiderpool.spidernet.io/v2beta1"


def review(operation: str) -> bytes:
    """A review of a pool that is good."""
    group, version = API_VERSION.split("/")
    pool = {
        "apiVersion": API_VERSION,
        "kind": "SpiderIPPool",
        "metadata": {"name": "new"},
        "spec": {"subnet": "10.200.0.0/16", "ips": ["10.200.0.10-10.200.9.250"]},
    }
    request = {
        "uid": "u",
        "kind": {"group": group, "version": version, "kind": "SpiderIPPool"},
        "operation": operation,
        "name": "new" if operation == "CREATE" else "pool-7",
        "object": pool,
    }
    whole = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    return json.dumps(whole).encode()


async def timed(ask: Callable[[], Awaitable[object]]) -> list[float]:
    """Milliseconds that each of REVIEWS takes."""
    found: list[float] = []
    for _ in range(REVIEWS):
        start = time.perf_counter()
        await ask()
        found.append((time.perf_counter() - start) * 1e3)
    return found


async def measure(root: Path) -> list[tuple[str, str, str]]:
    """All rows."""
    server = EmbeddedServer(root / "nats")
    await server.start()
    nc = await nats.connect(server.url)
    authority, files = Authority(), (root / "crt", root / "key")
    authority.issue(*files)
    rows: list[tuple[str, str, str]] = []
    async with running_engine(nc, "bench") as engine:
        for n in range(POOLS):
            subnet = f"10.{n // 250}.{n % 250}.0/24"
            network = subnet.removesuffix(".0/24")
            ips = (f"{network}.10-{network}.250",)
            await engine.apply(ApplyPool(pool=PoolSpec(f"pool-{n}", 4, subnet, ips=ips)))
        client = EngineClient(nc, "bench", 3.0)
        webhook = Webhook(client, Certificates(*files), "127.0.0.1", 0, Exposition("bench"))
        connector = aiohttp.TCPConnector(ssl=authority.trusting())
        async with webhook.serving(), aiohttp.ClientSession(connector=connector) as session:

            async def asks(body: bytes) -> None:
                url = f"https://127.0.0.1:{webhook.port}/validate"
                async with session.post(url, data=body) as response:
                    assert (await response.json())["response"]["allowed"]

            spec = PoolSpec("new", 0, "10.200.0.0/16", ips=("10.200.0.10-10.200.9.250",))
            plain = (ApplyPool(pool=spec),)
            for name, ask in (
                ("check query alone", lambda: client.check(plain)),
                ("review of a CREATE", lambda: asks(review("CREATE"))),
                ("review of a DELETE", lambda: asks(review("DELETE"))),
            ):
                took = await timed(ask)
                p50, p99 = percentile(took, 0.5), percentile(took, 0.99)
                rows.append((name, f"{p50:.2f}", f"{p99:.2f}"))
    await nc.close()
    await server.stop()
    return rows


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="ipledger-bench-") as folder:
        found = uvloop.run(measure(Path(folder)))
    title = f"{REVIEWS} reviews beside {POOLS} pools"
    report("webhook", title, ("what", "p50 ms", "p99 ms"), found)
