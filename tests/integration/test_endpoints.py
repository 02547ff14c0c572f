"""SpiderEndpoints: the log's pods as objects, and what becomes of others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from nats.aio.client import Client as NatsClient
from support.apiserver import Fault
from support.apiserver.errors import StatusError
from support.kube import API_VERSION, ENDPOINTS, FINALIZER, Kube, kube, seen, workload

from ipledger.engine.commands import Allocate, ApplyPool, Release
from ipledger.engine.queries import Applications
from ipledger.events.facts import Owner, Pod, PoolSpec, Route

POOLS = (
    PoolSpec(
        "a",
        0,
        "10.1.0.0/24",
        ("10.1.0.10-10.1.0.19",),
        gateway="10.1.0.1",
        routes=(Route("10.8.0.0/16", "10.1.0.2"),),
    ),
    PoolSpec("b", 0, "fd00:1::/64", ("fd00:1::10-fd00:1::19",)),
)
MARK = "ipledger.io/made-at"


@pytest_asyncio.fixture
async def cluster(nc: NatsClient, realm: str, tmp_path: Path) -> AsyncIterator[Kube]:
    async with kube(nc, realm, tmp_path) as cluster:
        for spec in POOLS:
            await cluster.client.apply(ApplyPool(pool=spec))
        yield cluster


async def add(cluster: Kube, name: str, interface: str = "eth0", **more: Any) -> None:
    command = Allocate(
        pod=Pod("shop", name, more.pop("uid", f"uid-of-{name}")),
        sandbox=f"{name}-{more.pop('sandbox', 1)}",
        interface=interface,
        node=more.pop("node", "n1"),
        default_ipv4_pools=("a",),
        **more,
    )
    await cluster.client.allocate(command)


async def delete(cluster: Kube, name: str, interface: str = "eth0") -> None:
    release = Release(sandbox=f"{name}-1", interface=interface, node="n1", fence=False)
    await cluster.client.release(release)


def endpoint(cluster: Kube, name: str) -> dict[str, Any] | None:
    return seen(cluster.server, ENDPOINTS, name, "shop")


def status(cluster: Kube, name: str) -> Any:
    return (endpoint(cluster, name) or {}).get("status")


async def is_known(cluster: Kube) -> bool:
    pages = cluster.client.applications(Applications())
    return bool([row async for page in pages for row in page.applications])


def interfaces(cluster: Kube, name: str) -> int:
    told = status(cluster, name)
    return len(told["current"]["ips"]) if told else 0


def spiderpools(cluster: Kube, name: str) -> None:
    """An endpoint that Spiderpool wrote."""
    metadata = {"name": name, "finalizers": [FINALIZER]}
    current = {"uid": f"uid-of-{name}", "node": "n9", "ips": [{"interface": "eth0"}]}
    told = {"current": current, "ownerControllerType": "Pod", "ownerControllerName": name}
    body = {"metadata": metadata, "status": told}
    cluster.server.create(API_VERSION, ENDPOINTS, body, "shop")


async def test_a_pod_is_shown_with_all_that_it_has_and_goes_with_it(cluster: Kube) -> None:
    async with cluster.controlled(endpoints=True):
        web = Owner("apps/v1", "Deployment", "web", "u")
        await add(cluster, "web-0", owner=web, default_ipv6_pools=("b",))
        await add(cluster, "web-0", "net1", owner=web)
        await cluster.until(lambda: interfaces(cluster, "web-0") == 2)
        routes = [{"dst": "10.8.0.0/16", "gw": "10.1.0.2"}]
        v4 = {"ipv4Pool": "a", "ipv4Gateway": "10.1.0.1", "vlan": 0, "cleanGateway": False}
        v6 = {"ipv6": "fd00:1::10/64", "ipv6Pool": "b"}
        assert status(cluster, "web-0") == {
            "current": {
                "uid": "uid-of-web-0",
                "node": "n1",
                "ips": [
                    {"interface": "eth0", "ipv4": "10.1.0.10/24", "routes": routes, **v4, **v6},
                    {"interface": "net1", "ipv4": "10.1.0.11/24", "routes": routes, **v4},
                ],
            },
            "ownerControllerType": "Deployment",
            "ownerControllerName": "web",
        }
        await delete(cluster, "web-0", "net1")
        await cluster.until(lambda: interfaces(cluster, "web-0") == 1)
        await delete(cluster, "web-0")
        await cluster.until(lambda: endpoint(cluster, "web-0") is None)


async def test_without_the_flag_nothing_is_written(cluster: Kube) -> None:
    async with cluster.controlled():
        await add(cluster, "web-0")
        await cluster.until(lambda: cluster.server.watches >= 9)
    assert cluster.server.count("list", ENDPOINTS) == 0
    assert endpoint(cluster, "web-0") is None


async def test_at_its_start_it_shows_what_is_missing_and_deletes_orphans_of_its_own(
    cluster: Kube,
) -> None:
    async with cluster.controlled(endpoints=True):
        await add(cluster, "gone")
        await cluster.until(lambda: endpoint(cluster, "gone"))
    await delete(cluster, "gone")
    await add(cluster, "new")
    spiderpools(cluster, "theirs")
    async with cluster.controlled(endpoints=True):
        await cluster.until(lambda: endpoint(cluster, "gone") is None)
        await cluster.until(lambda: endpoint(cluster, "new"))
    assert endpoint(cluster, "theirs")


async def test_what_spiderpool_wrote_of_a_pod_of_the_log_is_taken_over(cluster: Kube) -> None:
    spiderpools(cluster, "web-0")
    async with cluster.controlled(endpoints=True):
        await add(cluster, "web-0")
        await cluster.until(lambda: status(cluster, "web-0")["current"]["node"] == "n1")
        found = endpoint(cluster, "web-0")
        assert found is not None
        assert not found["metadata"].get("finalizers")
        assert MARK in found["metadata"]["annotations"]
        await delete(cluster, "web-0")
        await cluster.until(lambda: endpoint(cluster, "web-0") is None)


async def test_what_somebody_writes_or_deletes_is_set_right(cluster: Kube) -> None:
    async with cluster.controlled(endpoints=True):
        await add(cluster, "web-0")
        await cluster.until(lambda: endpoint(cluster, "web-0"))
        cluster.server.change(ENDPOINTS, "web-0", "shop", status={"current": {"node": "n7"}})
        await cluster.until(lambda: status(cluster, "web-0")["current"]["node"] == "n1")
        cluster.server.delete(ENDPOINTS, "web-0", "shop")
        await cluster.until(lambda: endpoint(cluster, "web-0"))


async def test_a_place_shows_its_last_pod_until_the_next_comes(cluster: Kube) -> None:
    uid = workload(cluster.server, "statefulsets", "cart", 1)
    cart = Owner("apps/v1", "StatefulSet", "cart", uid)
    async with cluster.controlled(endpoints=True):
        await cluster.until_engine(lambda: is_known(cluster))
        await add(cluster, "cart-0", owner=cart)
        await cluster.until(lambda: endpoint(cluster, "cart-0"))
        await delete(cluster, "cart-0")
        assert status(cluster, "cart-0")["current"]["uid"] == "uid-of-cart-0"
        await add(cluster, "cart-0", owner=cart, uid="next", sandbox=2, node="n2")
        await cluster.until(lambda: status(cluster, "cart-0")["current"]["uid"] == "next")
        assert status(cluster, "cart-0")["current"]["ips"][0]["ipv4"] == "10.1.0.10/24"
        assert status(cluster, "cart-0")["current"]["node"] == "n2"


async def test_a_server_that_refuses_writes_is_outlived(cluster: Kube) -> None:
    error = StatusError("ServiceUnavailable", "not now")
    async with cluster.controlled(endpoints=True):
        cluster.server.faults.append(Fault("create", ENDPOINTS, 2, error))
        await add(cluster, "web-0")
        await cluster.until(lambda: endpoint(cluster, "web-0"))
    assert cluster.server.count("create", ENDPOINTS) == 3
