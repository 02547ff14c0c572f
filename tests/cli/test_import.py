"""A Spiderpool taken over: what the log is then, and what a second import adds."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from support.apiserver import ApiServer, Fault
from support.apiserver.errors import StatusError
from support.spiderpool import SpiderpoolCluster, small, v4
from support.terminal import Cli

from ipledger.engine.client import EngineClient
from ipledger.engine.commands import Allocate, Release
from ipledger.engine.queries import AllocationsWhere
from ipledger.events.facts import Pod
from ipledger.projections.rows import AllocationRow


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ApiServer]:
    server = ApiServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def cluster(server: ApiServer, cli: Cli) -> SpiderpoolCluster:
    """The small cluster, of which FILES/kubeconfig is."""
    server.kubeconfig(cli.files)
    return small(server)


def words(cli: Cli, *more: str) -> tuple[str, ...]:
    return "import", "spiderpool", "--kubeconfig", "FILES/kubeconfig", *more


async def live(engine: EngineClient) -> dict[str, AllocationRow]:
    found: dict[str, AllocationRow] = {}
    async for page in engine.allocations(AllocationsWhere()):
        found |= {f"{row.pod} {row.interface}": row for row in page.allocations}
    return found


async def test_what_was_taken_over_verifies_and_lives_on(
    cli: Cli, engine: EngineClient, cluster: SpiderpoolCluster
) -> None:
    assert (await cli(*words(cli))).code == 0
    row = (await live(engine))["web-0 eth0"]
    assert row.sandbox == f"pod:{row.uid}"
    pod = Pod("shop", "web-0", row.uid)
    again = await engine.allocate(Allocate(pod=pod, sandbox="next", interface="eth0", node="n2"))
    assert again.allocation.addresses == row.addresses
    cart = (await live(engine))["cart-0 eth0"]
    over = Release(sandbox="real", interface="eth0", node="n1", ended_pod=cart.uid)
    await engine.release(over)
    assert (await live(engine))["cart-0 eth0"].sandbox == "", "its place keeps it"
    verified = await cli("verify")
    assert verified.code == 0, verified.stdout + verified.stderr


async def test_a_pool_gives_out_nothing_before_its_allocations_are_there(
    cli: Cli, engine: EngineClient, cluster: SpiderpoolCluster
) -> None:
    assert (await cli(*words(cli))).code == 0
    told = (await cli("log", "-o", "jsonl")).stdout.splitlines()
    events = [json.loads(line) for line in told]
    pools = [event["pool"].get("disable", False) for event in events if "pool" in event]
    assert pools == [True, True, False, False]
    kinds = [event["type"] for event in events]
    assert kinds.count("AllocationImported") == 5
    assert kinds[-2:] == ["PoolUpdated", "PoolUpdated"]


async def test_an_import_goes_on_where_an_earlier_one_stopped(
    cli: Cli, engine: EngineClient, cluster: SpiderpoolCluster
) -> None:
    assert (await cli(*words(cli))).code == 0
    cluster.running("late", "a", "10.1.0.30")
    result = await cli(*words(cli, "-o", "jsonl"))
    outcomes = [line for line in result.stdout.splitlines() if "unchanged" not in line]
    assert outcomes == [
        '{"kind":"Allocation","name":"shop/late eth0","outcome":"imported",'
        '"addresses":["10.1.0.30/24"]}'
    ]


async def test_an_address_that_a_pod_of_ipledger_holds_is_a_contradiction(
    cli: Cli, engine: EngineClient, cluster: SpiderpoolCluster
) -> None:
    assert (await cli(*words(cli))).code == 0
    asked = Allocate(pod=Pod("shop", "new", "uid-new"), sandbox="s", interface="eth0", node="n1")
    taken = await engine.allocate(asked)
    ip = taken.allocation.addresses[0].ip
    cluster.running("twice", "a", ip)
    before = await live(engine)
    result = await cli(*words(cli))
    assert result.code == 3
    assert "SpiderEndpoint shop/twice" in result.stdout
    assert "is held by pod shop/new" in result.stdout
    assert await live(engine) == before


async def test_leftovers_are_left_out_on_demand_and_all_else_is_taken_over(
    cli: Cli, engine: EngineClient, cluster: SpiderpoolCluster
) -> None:
    cluster.endpoint("lost", "uid-lost", v4("10.1.0.20", "a"))
    cluster.record("a", "10.1.0.20", "lost", "uid-lost")
    cluster.record("a", "10.1.0.21", "leaked", "uid-leaked")
    assert (await cli(*words(cli))).code == 3
    assert not await live(engine)
    assert (await cli(*words(cli, "--skip-leftovers"))).code == 0
    assert len(await live(engine)) == 5


async def test_an_api_server_that_denies_a_list_is_told_of_and_nothing_changes(
    cli: Cli, engine: EngineClient, cluster: SpiderpoolCluster, server: ApiServer
) -> None:
    (cli.files / "kubeconfig").unlink()
    server.kubeconfig(Path(cli.files), token="another")
    result = await cli(*words(cli))
    assert result.code == 1
    assert "the cluster cannot be read: 401" in result.stderr


async def test_lists_in_pages_that_expire_are_read_in_one_piece(
    cli: Cli, engine: EngineClient, cluster: SpiderpoolCluster, server: ApiServer
) -> None:
    for number in range(510):
        cluster.pod(f"idle-{number}")
    expired = StatusError("Expired", "The provided continue parameter is too old")
    server.faults.append(
        Fault("list", "pods", error=expired, when=lambda call: "continue" in call.query)
    )
    assert (await cli(*words(cli))).code == 0
    assert len(await live(engine)) == 5


async def test_it_lists_and_does_nothing_else(
    cli: Cli, engine: EngineClient, cluster: SpiderpoolCluster, server: ApiServer
) -> None:
    """What a role must allow (docs/how-to/move-from-spiderpool.md)."""
    assert (await cli(*words(cli))).code == 0
    assert {call.permission for call in server.calls} == {
        ("", "pods", "list"),
        ("apps", "statefulsets", "list"),
        ("spiderpool.spidernet.io", "spiderendpoints", "list"),
        ("spiderpool.spidernet.io", "spiderippools", "list"),
        ("spiderpool.spidernet.io", "spiderreservedips", "list"),
        ("spiderpool.spidernet.io", "spidersubnets", "list"),
    }
    assert server.not_found == 1, "this cluster has no KubeVirt"
