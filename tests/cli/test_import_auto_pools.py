"""Spiderpool's auto pools taken over: they follow their application from there on, as ours do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from nats.aio.client import Client as NatsClient
from support.kube import POOLS, Kube, kube, seen, workload
from support.spiderpool import SpiderpoolCluster, v4, with_auto_pool
from support.terminal import Cli

from ipledger.engine.client import RefusedError
from ipledger.engine.commands import Allocate, ApplyPool, ImportAutoPool, Release
from ipledger.engine.queries import Applications
from ipledger.events.facts import Application, AutoPool, Owner, Pod, PoolSpec
from ipledger.projections.rows import PoolRow

WORDS = ("import", "spiderpool", "--kubeconfig", "FILES/kubeconfig")
LABEL = "ipam.spidernet.io/"
ASKS = {f"{LABEL}subnet": '{"ipv4":["blue"]}', f"{LABEL}ippool-ip-number": "+1"}


@pytest_asyncio.fixture
async def cluster(nc: NatsClient, realm: str, cli: Cli) -> AsyncIterator[Kube]:
    async with kube(nc, realm, cli.files) as cluster:
        yield cluster


async def pool(cluster: Kube, name: str) -> PoolRow | None:
    return next(iter((await cluster.client.pools(name)).pools), None)


async def has(cluster: Kube, name: str, *ips: str) -> bool:
    row = await pool(cluster, name)
    return row is not None and row.ips == ips


async def add(cluster: Kube, name: str) -> str:
    """An ADD of a pod of the Deployment; its address."""
    command = Allocate(
        pod=Pod("shop", name, f"uid-of-{name}"),
        owner=Owner("apps/v1", "Deployment", "web"),
        sandbox=f"{name}-sandbox",
        interface="eth0",
        node="n1",
        annotations=ASKS,
    )
    return (await cluster.client.allocate(command)).allocation.addresses[0].ip


def listed(stdout: str) -> list[tuple[str, str]]:
    return [(one["about"], one["other"]) for one in map(json.loads, stdout.splitlines())]


async def test_a_pool_taken_over_follows_its_deployment_up_down_and_to_its_end(
    cli: Cli, cluster: Kube
) -> None:
    spiderpool, name = with_auto_pool(cluster.server)
    dry = await cli(*WORDS, "--dry-run")
    assert dry.code == 0, dry.stdout + dry.stderr
    assert await pool(cluster, name) is None
    done = await cli(*WORDS)
    assert done.code == 0, done.stdout + done.stderr
    assert await has(cluster, name, "10.1.0.20-10.1.0.22")
    assert await add(cluster, "web-5d-3") == "10.1.0.20", "the others are in use"

    server = spiderpool.server
    async with cluster.controlled():
        server.change("deployments", "web", "shop", spec={"replicas": 4})
        await cluster.until_engine(lambda: has(cluster, name, "10.1.0.10-10.1.0.11", *GIVEN))
        server.change("deployments", "web", "shop", spec={"replicas": 2})
        await cluster.until_engine(lambda: has(cluster, name, *GIVEN))
        server.delete("deployments", "web", "shop")

        async def terminating() -> bool:
            row = await pool(cluster, name)
            return row is not None and row.terminating

        await cluster.until_engine(terminating)
        await release(cluster, "web-5d-3", "")
        for number in (1, 2):
            gone = f"web-5d-{number}"
            await release(cluster, gone, uid_of(spiderpool, "pods", gone))
        await cluster.until(lambda: seen(server, POOLS, name) is None)
    assert await pool(cluster, name) is None
    assert [page.applications async for page in cluster.client.applications(Applications())] == [()]
    verified = await cli("verify")
    assert verified.code == 0, verified.stdout + verified.stderr


GIVEN = ("10.1.0.20-10.1.0.22",)


def uid_of(cluster: SpiderpoolCluster, resource: str, name: str) -> str:
    found = cluster.server.store.get(resource, ("shop", name))
    assert found is not None
    uid: str = found["metadata"]["uid"]
    return uid


async def release(cluster: Kube, name: str, uid: str) -> None:
    command = Release(sandbox=f"{name}-sandbox", interface="eth0", node="n1", ended_pod=uid)
    await cluster.client.release(command)


async def test_an_import_once_more_finds_all_of_it_as_it_is(cli: Cli, cluster: Kube) -> None:
    with_auto_pool(cluster.server)
    assert (await cli(*WORDS)).code == 0
    before = (await cluster.client.status()).position
    again = await cli(*WORDS, "-o", "jsonl")
    assert again.code == 0, again.stdout + again.stderr
    assert again.stderr == "nothing to import: the log has all of it\n"
    assert (await cluster.client.status()).position == before
    outcomes = {json.loads(line)["outcome"] for line in again.stdout.splitlines()}
    assert outcomes == {"unchanged"}


async def test_a_pool_that_an_interrupted_import_left_closed_is_opened_by_the_next(
    cli: Cli, cluster: Kube
) -> None:
    _, name = with_auto_pool(cluster.server)
    assert (await cli(*WORDS)).code == 0
    ips = ("10.1.0.20-10.1.0.22",)
    closed = PoolSpec(name, 4, "10.1.0.0/16", ips=ips, disable=True)
    await cluster.client.apply(ApplyPool(pool=closed))
    assert (await cli(*WORDS)).code == 0
    row = await pool(cluster, name)
    assert row is not None
    assert not row.disable


async def test_a_place_of_a_stateful_set_is_held_in_its_auto_pool(cli: Cli, cluster: Kube) -> None:
    spiderpool = SpiderpoolCluster(cluster.server)
    spiderpool.subnet("blue", "10.1.0.0/16", "10.1.0.10-10.1.0.99")
    asks = {"subnet": '{"ipv4":["blue"]}', "ippool__ip__number": "2"}
    uid = workload(cluster.server, "statefulsets", "cart", 1, **asks)
    kind = {"owner-application-kind": "StatefulSet"}
    name = spiderpool.auto_pool("cart", uid, "10.1.0.20-10.1.0.21", labels=kind)
    held = v4("10.1.0.20", name, length=16)
    spiderpool.endpoint("cart-0", "uid-before", held, owner=("StatefulSet", "cart"))
    spiderpool.record(name, "10.1.0.20", "cart-0", "uid-before")
    done = await cli(*WORDS)
    assert done.code == 0, done.stdout + done.stderr
    command = Allocate(
        pod=Pod("shop", "cart-0", "uid-after"),
        owner=Owner("apps/v1", "StatefulSet", "cart"),
        sandbox="s",
        interface="eth0",
        node="n2",
        annotations={f"{LABEL}subnet": asks["subnet"], f"{LABEL}ippool-ip-number": "2"},
    )
    answer = await cluster.client.allocate(command)
    assert [address.ip for address in answer.allocation.addresses] == ["10.1.0.20"]


CLONE_SET = {
    "apiVersion": "apps.kruise.io/v1alpha1",
    "kind": "CloneSet",
    "name": "app",
    "uid": "12345678-1234-1234-1234-123456789abc",
    "controller": True,
}


def with_clone_set(cluster: Kube, number: str) -> tuple[SpiderpoolCluster, str]:
    """An auto pool of three addresses of a CloneSet, one of whose pods is there; its name, too."""
    spiderpool = SpiderpoolCluster(cluster.server)
    spiderpool.subnet("blue", "10.1.0.0/16", "10.1.0.10-10.1.0.99")
    labels = {
        "owner-application-kind": "CloneSet",
        "owner-application-gv": "apps.kruise.io_v1alpha1",
    }
    uid = CLONE_SET["uid"]
    name = spiderpool.auto_pool("app", str(uid), "10.1.0.20-10.1.0.22", labels=labels)
    asks = {f"{LABEL}subnet": '{"ipv4":["blue"]}', f"{LABEL}ippool-ip-number": number}
    pod = spiderpool.pod("app-1", "10.1.0.20", owner=CLONE_SET, annotations=asks)
    spiderpool.endpoint("app-1", pod, v4("10.1.0.20", name, length=16), owner=("CloneSet", "app"))
    spiderpool.record(name, "10.1.0.20", "app-1", pod)
    return spiderpool, name


async def test_a_third_partys_controller_is_known_by_its_pods(cli: Cli, cluster: Kube) -> None:
    _, name = with_clone_set(cluster, "3")
    done = await cli(*WORDS)
    assert done.code == 0, done.stdout + done.stderr
    assert await has(cluster, name, "10.1.0.20-10.1.0.22")
    command = Allocate(
        pod=Pod("shop", "app-2", "uid-of-app-2"),
        owner=Owner("apps.kruise.io/v1alpha1", "CloneSet", "app"),
        sandbox="s",
        interface="eth0",
        node="n2",
        annotations={f"{LABEL}subnet": '{"ipv4":["blue"]}', f"{LABEL}ippool-ip-number": "3"},
    )
    answer = await cluster.client.allocate(command)
    assert [address.ip for address in answer.allocation.addresses] == ["10.1.0.21"]
    [page] = [page async for page in cluster.client.applications(Applications())]
    assert [(row.kind, row.uid) for row in page.applications] == [("CloneSet", CLONE_SET["uid"])]


async def test_a_pool_that_follows_a_third_partys_controller_is_refused_as_at_an_add(
    cli: Cli, cluster: Kube
) -> None:
    _, name = with_clone_set(cluster, "+2")
    done = await cli(*WORDS, "-o", "jsonl")
    assert done.code == 3
    [(about, other)] = listed(done.stdout)
    assert about == f"SpiderIPPool {name}"
    assert "'+2' must be a fixed number such as 5: how many pods a CloneSet wants" in other


async def test_a_pool_that_is_not_taken_over_is_one_line_with_its_allocations(
    cli: Cli, cluster: Kube
) -> None:
    spiderpool, name = with_auto_pool(cluster.server)
    gone(spiderpool, name)
    done = await cli(*WORDS, "-o", "jsonl")
    assert done.code == 3
    [told] = map(json.loads, done.stdout.splitlines())
    assert told["about"] == f"SpiderIPPool {name}"
    assert told["one"].endswith(", with 2 allocations")


async def test_an_auto_pool_gives_out_nothing_before_its_allocations_are_there(
    cli: Cli, cluster: Kube
) -> None:
    with_auto_pool(cluster.server)
    assert (await cli(*WORDS)).code == 0
    told = (await cli("log", "-o", "jsonl")).stdout.splitlines()
    events = [json.loads(line) for line in told]
    assert [event["type"] for event in events if event["type"] != "LeadershipTaken"] == [
        "SubnetCreated",
        "ApplicationCreated",
        "PoolCreated",
        "AllocationImported",
        "AllocationImported",
        "PoolUpdated",
    ]
    assert [e["pool"].get("disable", False) for e in events if "pool" in e] == [True, False]


def another_size(cluster: SpiderpoolCluster, name: str) -> None:
    cluster.server.change("deployments", "web", "shop", spec={"replicas": 5})


def no_subnet(cluster: SpiderpoolCluster, name: str) -> None:
    template: Any = {"metadata": {"annotations": {f"{LABEL}subnet": None}}}
    cluster.server.change("deployments", "web", "shop", spec={"template": template})


def another_subnet(cluster: SpiderpoolCluster, name: str) -> None:
    cluster.server.change("spidersubnets", "blue", spec={"ips": ["10.1.0.10-10.1.0.21"]})


def gone(cluster: SpiderpoolCluster, name: str) -> None:
    cluster.server.delete("deployments", "web", "shop")


def made_again(cluster: SpiderpoolCluster, name: str) -> None:
    gone(cluster, name)
    uid = cluster.deployment("web", 2, subnet='{"ipv4":["blue"]}', ippool__ip__number="+1")
    cluster.server.change("deployments", "web", "shop", metadata={"labels": {"now": uid}})


def third_party(cluster: SpiderpoolCluster, name: str) -> None:
    labels = {
        f"{LABEL}owner-application-kind": "CloneSet",
        f"{LABEL}owner-application-gv": "apps.kruise.io_v1alpha1",
    }
    cluster.server.change(POOLS, name, metadata={"labels": labels})


def second_pool(cluster: SpiderpoolCluster, name: str) -> None:
    uid = uid_of(cluster, "deployments.apps", "web")
    cluster.auto_pool("web", uid, "10.1.0.30-10.1.0.32", name="zz-second")


@pytest.mark.parametrize(
    ("change", "about", "says"),
    [
        (another_size, "", "3 addresses, but Deployment shop/web asks for 6"),
        (no_subnet, "", "'blue', but Deployment shop/web asks for no subnet for IPv4 of eth0"),
        (another_subnet, "", "'10.1.0.22' is not among the addresses of subnet 'blue'"),
        (gone, "", "there is no such application"),
        (made_again, "", "that application has the UID"),
        (
            third_party,
            "",
            "no pod of this CloneSet of apps.kruise.io/v1alpha1 says what it asks for",
        ),
        (second_pool, "SpiderIPPool zz-second", "has pool 'NAME' for IPv4 of eth0 already"),
    ],
)
async def test_a_contradiction_about_an_auto_pool_refuses_the_whole_import(
    cli: Cli,
    cluster: Kube,
    change: Callable[[SpiderpoolCluster, str], None],
    about: str,
    says: str,
) -> None:
    spiderpool, name = with_auto_pool(cluster.server)
    spiderpool.pool("other", "10.9.0.0/24", "10.9.0.10")
    change(spiderpool, name)
    for words in ((*WORDS, "--dry-run"), WORDS):
        result = await cli(*words, "-o", "jsonl")
        assert result.code == 3
        told = listed(result.stdout)
        wanted = about or f"SpiderIPPool {name}"
        assert any(one == wanted and says.replace("NAME", name) in other for one, other in told), (
            told
        )
        assert not (await cluster.client.pools()).pools


async def test_without_an_annotation_both_defaults_are_taken_over_and_ours_follows(
    cli: Cli, cluster: Kube
) -> None:
    """Spiderpool's default is no spare address, and ours is one (reference 1.12)."""
    spiderpool = SpiderpoolCluster(cluster.server)
    spiderpool.subnet("blue", "10.1.0.0/16", "10.1.0.10-10.1.0.99")
    uid = spiderpool.deployment("web", 2, subnet='{"ipv4":["blue"]}')
    name = spiderpool.auto_pool("web", uid, "10.1.0.20-10.1.0.21")
    for _ in range(2):
        done = await cli(*WORDS)
        assert done.code == 0, done.stdout + done.stderr
        assert await has(cluster, name, "10.1.0.10", "10.1.0.20-10.1.0.21")


async def test_a_pool_that_was_kept_after_its_application_waits_for_the_next_one(
    cli: Cli, cluster: Kube
) -> None:
    spiderpool = SpiderpoolCluster(cluster.server)
    spiderpool.subnet("blue", "10.1.0.0/16", "10.1.0.10-10.1.0.99")
    kept = {"ippool-reclaim": "false"}
    name = spiderpool.auto_pool("web", "1-2-before", "10.1.0.20-10.1.0.22", labels=kept)
    done = await cli(*WORDS)
    assert done.code == 0, done.stdout + done.stderr
    async with cluster.controlled():
        asks = {"subnet": '{"ipv4":["blue"]}', "ippool__ip__number": "+1"}
        spiderpool.deployment("web", 3, ippool__reclaim="false", **asks)
        await cluster.until_engine(lambda: has(cluster, name, "10.1.0.10", *GIVEN))


WEB = Application("apps/v1", "Deployment", "shop", "web", "u", replicas=2, annotations=ASKS)


@pytest.mark.parametrize(
    ("auto", "application", "field"),
    [
        (None, WEB, "pool.auto"),
        (AutoPool("blue", "shop", Owner("v1", "Pod", "web"), "eth0"), None, "pool.auto.owner.kind"),
        (
            AutoPool("blue", "shop", Owner("apps/v1", "Deployment", "web"), ""),
            WEB,
            "pool.auto.interface",
        ),
        (
            AutoPool("blue", "shop", Owner("apps/v1", "Deployment", "web"), "eth0", "many", False),
            None,
            f"{LABEL}ippool-ip-number",
        ),
        (
            AutoPool("blue", "shop", Owner("apps/v1", "Deployment", "web"), "eth0"),
            None,
            "application",
        ),
        (
            AutoPool("blue", "shop", Owner("apps/v1", "Deployment", "api"), "eth0"),
            WEB,
            "application",
        ),
    ],
)
async def test_an_auto_pool_that_says_not_whose_it_is_is_refused_by_its_field(
    cluster: Kube, auto: AutoPool | None, application: Application | None, field: str
) -> None:
    spec = PoolSpec("p", 4, "10.1.0.0/16", ips=("10.1.0.20-10.1.0.22",), auto=auto)
    with pytest.raises(RefusedError) as caught:
        await cluster.client.import_auto_pool(ImportAutoPool(pool=spec, application=application))
    assert caught.value.refusal.field == field
