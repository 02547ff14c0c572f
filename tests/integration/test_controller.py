"""The controller between an API server double and a real engine on a real nats-server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest_asyncio
from nats.aio.client import Client as NatsClient
from support.apiserver import Fault
from support.apiserver.errors import StatusError
from support.apiserver.writes import now
from support.kube import (
    ENDPOINTS,
    FINALIZER,
    POOLS,
    RESERVATIONS,
    SUBNETS,
    Kube,
    condition,
    holders,
    kube,
    make,
    seen,
    warnings,
    workload,
)
from support.permissions import documented_calls

from ipledger.engine.commands import (
    Allocate,
    ApplyApplication,
    ApplyPool,
    ApplyReservation,
    ApplySubnet,
    Release,
)
from ipledger.engine.queries import Applications
from ipledger.events.facts import Application, Owner, Pod, PoolSpec, ReservationSpec, SubnetSpec
from ipledger.kube.lease import Election
from ipledger.projections.cluster.live.connect import connected
from ipledger.projections.rows import ApplicationRow, PoolRow

BLUE: dict[str, Any] = {"subnet": "10.1.0.0/24", "ips": ["10.1.0.1-10.1.0.9"]}
WANTS_BLUE = '{"ipv4":["blue"]}'


@pytest_asyncio.fixture
async def cluster(nc: NatsClient, realm: str, tmp_path: Path) -> AsyncIterator[Kube]:
    async with kube(nc, realm, tmp_path) as cluster:
        yield cluster


async def pool(cluster: Kube, name: str) -> PoolRow | None:
    return next(iter((await cluster.client.pools(name)).pools), None)


async def applications(cluster: Kube) -> list[ApplicationRow]:
    pages = cluster.client.applications(Applications())
    return [row async for page in pages for row in page.applications]


async def add(cluster: Kube, name: str, *pools: str, **rest: Any) -> list[str]:
    """An ADD of a pod in shop; its addresses."""
    answer = await cluster.client.allocate(
        Allocate(
            pod=Pod("shop", name, f"uid-of-{name}"),
            sandbox=f"{name}-sandbox",
            interface="eth0",
            node="n1",
            default_ipv4_pools=pools,
            **rest,
        )
    )
    return [address.ip for address in answer.allocation.addresses]


async def delete(cluster: Kube, name: str) -> None:
    await cluster.client.release(
        Release(sandbox=f"{name}-sandbox", interface="eth0", node="n1", fence=False)
    )


def accepted(cluster: Kube, name: str) -> dict[str, Any] | None:
    """What a pool's object says of whether it was accepted."""
    return condition(seen(cluster.server, POOLS, name), "Accepted")


# Pools, subnets and reservations.


async def test_an_object_becomes_a_pool_and_its_status_tells_of_it(cluster: Kube) -> None:
    server = cluster.server
    make(server, POOLS, "blue", **BLUE)
    async with cluster.controlled():
        await cluster.until(lambda: accepted(cluster, "blue"))
        found = seen(server, POOLS, "blue")
        assert found is not None
        assert found["metadata"]["finalizers"] == [FINALIZER]
        told = condition(found, "Accepted")
        assert told is not None
        assert told.pop("lastTransitionTime").endswith("Z")
        assert told == {
            "type": "Accepted",
            "status": "True",
            "reason": "Applied",
            "message": "the log has it",
            "observedGeneration": 1,
        }
        assert found["status"]["totalIPCount"] == 9

        await add(cluster, "web", "blue")
        await cluster.until(lambda: holders(seen(server, POOLS, "blue")))
        found = seen(server, POOLS, "blue")
        assert found is not None
        assert found["status"]["allocatedIPCount"] == 1
        held = {"10.1.0.1": {"pod": "shop/web", "podUid": "uid-of-web"}}
        assert json.loads(found["status"]["allocatedIPs"]) == held

        await delete(cluster, "web")
        await cluster.until(lambda: not holders(seen(server, POOLS, "blue")))


async def test_a_change_of_an_object_changes_the_pool(cluster: Kube) -> None:
    async with cluster.controlled():
        make(cluster.server, POOLS, "blue", **BLUE)
        await cluster.until_engine(lambda: pool(cluster, "blue"))
        cluster.server.change(POOLS, "blue", spec={"disable": True})

        async def disabled() -> bool:
            row = await pool(cluster, "blue")
            return row is not None and row.disable

        await cluster.until_engine(disabled)


async def test_what_the_engine_refuses_is_told_in_condition_and_event_once(cluster: Kube) -> None:
    server = cluster.server
    make(server, POOLS, "wrong", subnet="10.1.0.0/24", ips=["10.2.0.1"])
    make(server, POOLS, "unread", subnet="10.1.0.0/24", ips=[7])
    async with cluster.controlled():
        for name, part in (("wrong", "10.2.0.1"), ("unread", "spec.ips[0]: 7 is wrong")):
            found = await cluster.until(partial(accepted, cluster, name))
            assert found["status"] == "False"
            assert part in found["message"]
        told = {name: (reason, text) for name, reason, text in warnings(server)}
        assert told["wrong"][0] == "InvalidField"
        assert "spec.ips" in told["wrong"][1]
        assert told["unread"][0] == "InvalidField"
    async with cluster.controlled():
        make(server, POOLS, "later", **BLUE)
        await cluster.until(lambda: condition(seen(server, POOLS, "later"), "Accepted"))
        assert len(warnings(server)) == 2
        server.change(POOLS, "wrong", spec={"ips": ["10.1.0.77"]})
        await cluster.until(
            lambda: (condition(seen(server, POOLS, "wrong"), "Accepted") or {})["status"] == "True"
        )


async def test_a_deleted_pool_in_use_terminates_and_goes_with_its_last_address(
    cluster: Kube,
) -> None:
    server = cluster.server
    async with cluster.controlled():
        make(server, POOLS, "blue", **BLUE)
        await cluster.until_engine(lambda: pool(cluster, "blue"))
        await add(cluster, "web", "blue")
        await cluster.until(lambda: holders(seen(server, POOLS, "blue")))

        server.delete(POOLS, "blue")
        found = await cluster.until(lambda: condition(seen(server, POOLS, "blue"), "Terminating"))
        assert found["message"] == "1 addresses in use; it goes with the last one"
        row = await pool(cluster, "blue")
        assert row is not None
        assert row.terminating

        await delete(cluster, "web")
        await cluster.until(lambda: seen(server, POOLS, "blue") is None)
        assert await pool(cluster, "blue") is None


async def test_a_subnet_stays_until_its_pools_are_gone(cluster: Kube) -> None:
    server = cluster.server
    async with cluster.controlled():
        make(server, SUBNETS, "blue", **BLUE)
        await cluster.until(lambda: condition(seen(server, SUBNETS, "blue"), "Accepted"))
        make(server, POOLS, "part", subnet="10.1.0.0/24", ips=["10.1.0.2"])

        def shares() -> Any:
            status = (seen(server, SUBNETS, "blue") or {}).get("status", {})
            return json.loads(status.get("controlledIPPools", "{}"))

        assert await cluster.until(shares) == {"part": {"ips": ["10.1.0.2"]}}
        server.delete(SUBNETS, "blue")
        found = await cluster.until(lambda: condition(seen(server, SUBNETS, "blue"), "Terminating"))
        assert "it has pools part" in found["message"]
        server.delete(POOLS, "part")
        await cluster.until(lambda: seen(server, SUBNETS, "blue") is None)


async def test_a_pool_without_a_gateway_of_its_own_follows_its_subnet(cluster: Kube) -> None:
    server = cluster.server

    def has(gateway: str, *, disable: bool = False) -> Callable[[], Coroutine[Any, Any, bool]]:
        async def look() -> bool:
            row = await pool(cluster, "part")
            return row is not None and (row.gateway, row.disable) == (gateway, disable)

        return look

    make(server, SUBNETS, "blue", gateway="10.1.0.254", **BLUE)
    make(server, POOLS, "part", subnet="10.1.0.0/24", ips=["10.1.0.2"], gateway="10.1.0.100")
    async with cluster.controlled():
        await cluster.until_engine(has("10.1.0.100"))
        server.change(SUBNETS, "blue", spec={"gateway": "10.1.0.253"})
        server.change(POOLS, "part", spec={"gateway": None})
        await cluster.until_engine(has("10.1.0.253"))
        server.change(SUBNETS, "blue", spec={"gateway": "10.1.0.252"})
        await cluster.until_engine(has("10.1.0.252"))
        await cluster.until(partial(is_applied, cluster, SUBNETS, "blue"))
    before = (await cluster.client.status()).position
    async with cluster.controlled():
        server.change(POOLS, "part", spec={"disable": True})
        await cluster.until_engine(has("10.1.0.252", disable=True))
    position = (await cluster.client.status()).position
    assert int(position.split(".")[0]) == int(before.split(".")[0]) + 1, "that and nothing else"
    assert not warnings(server), "nobody changed the log against an object"


async def test_a_reservation_comes_and_goes(cluster: Kube) -> None:
    server = cluster.server

    async def reserved() -> int:
        return len((await cluster.client.reservations()).reservations)

    async with cluster.controlled():
        make(server, RESERVATIONS, "printers", ips=["10.1.0.1-10.1.0.3"])
        await cluster.until_engine(reserved)
        server.delete(RESERVATIONS, "printers")
        await cluster.until(lambda: seen(server, RESERVATIONS, "printers") is None)
        assert await reserved() == 0


async def test_what_was_deleted_while_no_controller_ran_is_deleted_by_the_next(
    cluster: Kube,
) -> None:
    server = cluster.server
    async with cluster.controlled():
        make(server, POOLS, "blue", **BLUE)
        await cluster.until_engine(lambda: pool(cluster, "blue"))
    server.delete(POOLS, "blue")
    async with cluster.controlled():
        await cluster.until(lambda: seen(server, POOLS, "blue") is None)
        assert await pool(cluster, "blue") is None


async def test_a_pool_of_the_log_alone_is_left(cluster: Kube) -> None:
    by_hand = PoolSpec("by-hand", 0, "10.2.0.0/24", ips=("10.2.0.1",))
    await cluster.client.apply(ApplyPool(pool=by_hand))
    async with cluster.controlled():
        make(cluster.server, POOLS, "blue", **BLUE)
        await cluster.until(lambda: condition(seen(cluster.server, POOLS, "blue"), "Accepted"))
    assert await pool(cluster, "by-hand") is not None
    assert seen(cluster.server, POOLS, "by-hand") is None


async def test_a_pool_that_was_changed_in_the_log_is_as_its_object_says_again(
    cluster: Kube,
) -> None:
    server = cluster.server
    async with cluster.controlled():
        make(server, POOLS, "blue", **BLUE)
        await cluster.until(lambda: accepted(cluster, "blue"))
        other = PoolSpec("blue", 0, "10.1.0.0/24", ips=("10.1.0.1-10.1.0.9",), disable=True)
        await cluster.client.apply(ApplyPool(pool=other))

        async def enabled() -> bool:
            row = await pool(cluster, "blue")
            return row is not None and not row.disable

        await cluster.until_engine(enabled)
        assert ("blue", "ChangedInLog") in [told[:2] for told in warnings(server)]


async def test_two_controllers_agree(cluster: Kube) -> None:
    server = cluster.server
    async with cluster.controlled(), cluster.controlled():
        make(server, POOLS, "blue", **BLUE)
        await cluster.until_engine(lambda: pool(cluster, "blue"))
        await add(cluster, "web", "blue")
        await cluster.until(lambda: holders(seen(server, POOLS, "blue")))
        server.delete(POOLS, "blue")
        await delete(cluster, "web")
        await cluster.until(lambda: seen(server, POOLS, "blue") is None)
    assert await pool(cluster, "blue") is None


# Workloads.


async def test_a_stateful_set_is_known_while_it_is_there(cluster: Kube) -> None:
    server = cluster.server
    async with cluster.controlled():
        uid = workload(server, "statefulsets", "cart", 2)
        [row] = await cluster.until_engine(lambda: applications(cluster))
        assert (row.kind, row.namespace, row.name, row.uid) == ("StatefulSet", "shop", "cart", uid)
        server.change("statefulsets", "cart", "shop", spec={"replicas": 5})

        async def replicas() -> bool:
            return [row.replicas for row in await applications(cluster)] == [5]

        await cluster.until_engine(replicas)
    server.delete("statefulsets", "cart", "shop")
    async with cluster.controlled():

        async def none() -> bool:
            return not await applications(cluster)

        await cluster.until_engine(none)


async def test_a_deployment_matters_when_it_asks_for_an_auto_pool_which_is_shown(
    cluster: Kube,
) -> None:
    server = cluster.server
    make(server, SUBNETS, "blue", **BLUE)
    async with cluster.controlled():
        await cluster.until(lambda: condition(seen(server, SUBNETS, "blue"), "Accepted"))
        workload(server, "deployments", "plain", 2)
        uid = workload(server, "deployments", "web", 2, subnet=WANTS_BLUE)
        name = f"auto4-web-eth0-{uid.rpartition('-')[2][:5]}"
        found = await cluster.until(lambda: seen(server, POOLS, name))
        assert found["spec"]["ips"] == ["10.1.0.1-10.1.0.3"]
        labels = found["metadata"]["labels"]
        assert labels["ipam.spidernet.io/owner-application-name"] == "web"
        assert labels["ipam.spidernet.io/owner-application-uid"] == uid
        assert [row.name for row in await applications(cluster)] == ["web"]

        server.change("deployments", "web", "shop", spec={"replicas": 4})
        await cluster.until(
            lambda: (seen(server, POOLS, name) or {})["spec"]["ips"] == ["10.1.0.1-10.1.0.5"]
        )
        # Its addresses are not changed by hand (I00018).
        server.change(POOLS, name, spec={"ips": ["10.1.0.9"]})
        await cluster.until(
            lambda: (seen(server, POOLS, name) or {})["spec"]["ips"] == ["10.1.0.1-10.1.0.5"]
        )
        owner = Owner("apps/v1", "Deployment", "web", uid)
        await add(
            cluster,
            "web-1",
            owner=owner,
            replicas=4,
            annotations={"ipam.spidernet.io/subnet": WANTS_BLUE},
        )
        server.delete("deployments", "web", "shop")
        await cluster.until(lambda: condition(seen(server, POOLS, name), "Terminating"))
        await delete(cluster, "web-1")
        await cluster.until(lambda: seen(server, POOLS, name) is None)
    assert warnings(server) == []


async def test_an_application_that_is_refused_is_told_of_it(cluster: Kube) -> None:
    server = cluster.server
    async with cluster.controlled():
        workload(server, "deployments", "web", 2, subnet='{"ipv4":["absent"]}')
        await cluster.until(lambda: warnings(server))
    [(name, reason, message)] = warnings(server)
    assert (name, reason) == ("web", "SubnetUnknown")
    assert "'absent'" in message


async def test_applications_that_came_by_hand_are_left(cluster: Kube) -> None:
    by_hand = Application("apps/v1", "StatefulSet", "shop", "by-hand")
    await cluster.client.apply(ApplyApplication(application=by_hand))
    async with cluster.controlled():
        workload(cluster.server, "statefulsets", "cart", 1)

        async def both() -> bool:
            return len(await applications(cluster)) == 2

        await cluster.until_engine(both)


# Trouble.


async def test_what_was_refused_is_accepted_once_the_reason_is_gone(cluster: Kube) -> None:
    server = cluster.server
    async with cluster.controlled():
        make(server, POOLS, "blue", **BLUE)
        await cluster.until(lambda: accepted(cluster, "blue"))
        make(server, POOLS, "same", **BLUE)
        assert (await cluster.until(lambda: accepted(cluster, "same")))["reason"] == "PoolOverlap"
        server.delete(POOLS, "blue")
        await cluster.until(lambda: (accepted(cluster, "same") or {})["status"] == "True")


async def test_conflicts_and_errors_of_the_api_server_are_outlived(cluster: Kube) -> None:
    server = cluster.server
    conflict = StatusError("Conflict", "the object has been modified")
    away = StatusError("ServiceUnavailable", "etcd is away")
    server.faults += [
        Fault("patch", POOLS, times=2, error=conflict),
        Fault("patch", f"{POOLS}/status", times=2, error=away),
        Fault("patch", f"{POOLS}/status", times=1, drop=True),
    ]
    async with cluster.controlled():
        make(server, POOLS, "blue", **BLUE)
        await cluster.until(lambda: accepted(cluster, "blue"))
        server.drop_watches()
        make(server, POOLS, "green", subnet="10.2.0.0/24", ips=["10.2.0.1"])
        await cluster.until(lambda: accepted(cluster, "green"))
    assert {name for name, _, _ in warnings(server)} == set()


async def test_every_call_is_documented(cluster: Kube) -> None:
    server = cluster.server
    server.define("kubevirt.io/v1", "virtualmachines", "VirtualMachine")
    async with cluster.controlled(endpoints=True):
        make(server, SUBNETS, "blue", **BLUE)
        await cluster.until(lambda: condition(seen(server, SUBNETS, "blue"), "Accepted"))
        make(server, RESERVATIONS, "printers", ips=["10.9.0.1"])
        await cluster.until(partial(is_applied, cluster, RESERVATIONS, "printers"))
        make(server, POOLS, "wrong", subnet="10.3.0.0/24", ips=["10.2.0.1"])
        make(server, POOLS, "part", subnet="10.1.0.0/24", ips=["10.1.0.1"])
        await cluster.until(lambda: accepted(cluster, "part"))
        others = (
            ApplyPool(pool=PoolSpec("part", 0, "10.1.0.0/24", ips=("10.1.0.1",), disable=True)),
            ApplySubnet(subnet=SubnetSpec("blue", 0, "10.1.0.0/24", ips=("10.1.0.1-10.1.0.8",))),
            ApplyReservation(reservation=ReservationSpec("printers", 0, ("10.9.0.2",))),
        )
        for other in others:
            await cluster.client.apply(other)
        await cluster.until(lambda: applied_again(cluster) == {"part", "blue", "printers"})
        await add(cluster, "web-0", "part")
        await cluster.until(lambda: seen(server, ENDPOINTS, "web-0", "shop"))
        server.change(ENDPOINTS, "web-0", "shop", status={"current": {"node": "n2"}})
        await cluster.until(lambda: node_shown(cluster, "web-0") == "n1")
        await delete(cluster, "web-0")
        await cluster.until(lambda: seen(server, ENDPOINTS, "web-0", "shop") is None)
        uid = workload(server, "deployments", "web", 2, subnet=WANTS_BLUE)
        name = f"auto4-web-eth0-{uid.rpartition('-')[2][:5]}"
        await cluster.until(lambda: seen(server, POOLS, name))
        server.delete("deployments", "web", "shop")
        await cluster.until(lambda: seen(server, POOLS, name) is None)
        for plural, one in ((POOLS, "part"), (SUBNETS, "blue"), (RESERVATIONS, "printers")):
            server.delete(plural, one)
            await cluster.until(partial(is_gone, cluster, plural, one))
        await server.until_watched(11)
    async with connected(cluster.kubeconfig) as api:
        election = Election(api, "shop", "one", "me", now, lambda: 0.0, lambda: 0.5)
        await election.acquire()
        await election.release()
    page = Path(__file__).parents[2] / "docs/reference/kubernetes-controller.md"
    assert {call.permission for call in server.calls} == documented_calls(page.read_text())


def is_applied(cluster: Kube, plural: str, name: str) -> bool:
    return condition(seen(cluster.server, plural, name), "Accepted") is not None


def applied_again(cluster: Kube) -> set[str]:
    return {name for name, reason, _ in warnings(cluster.server) if reason == "ChangedInLog"}


def node_shown(cluster: Kube, name: str) -> str:
    found = seen(cluster.server, ENDPOINTS, name, "shop") or {"status": {"current": {}}}
    return str(found["status"]["current"].get("node", ""))


def is_gone(cluster: Kube, plural: str, name: str) -> bool:
    return seen(cluster.server, plural, name) is None
