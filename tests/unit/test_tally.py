"""What an engine counts: of commands on a real loop, and what a scrape shows of it."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from nats.aio.client import Client as NatsClient
from prometheus_client.parser import text_string_to_metric_families
from support.gated_log import GatedLog
from support.moved import moved
from support.realm import REALM, realm

from ipledger.engine.client import EngineUnavailableError
from ipledger.engine.commands import Allocate, ApplyPool, Release
from ipledger.engine.heartbeats import Heartbeat
from ipledger.engine.metrics import table
from ipledger.engine.metrics.client_metrics import ClientMetrics
from ipledger.engine.metrics.distribution import Distribution
from ipledger.engine.metrics.engine_metrics import EngineMetrics
from ipledger.engine.metrics.exposition import Exposition
from ipledger.engine.snapshot_store import MemorySnapshots
from ipledger.engine.snapshots import Snapshots
from ipledger.events import names
from ipledger.events.facts import Pod, PoolSpec

POOL = PoolSpec("office", 0, "10.0.0.0/29", ips=("10.0.0.1-10.0.0.2",), default=True)


async def _ignore(answer: object) -> None:
    pass


def allocate(number: int) -> Allocate:
    pod = Pod("shop", f"web-{number}", f"uid-{number}")
    return Allocate(pod=pod, sandbox=f"s{number}", interface="eth0", node="n1")


def release(number: int) -> Release:
    return Release(sandbox=f"s{number}", interface="eth0", node="n1")


def test_a_distribution_counts_what_is_at_most_each_bound() -> None:
    found = Distribution((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 7.0):
        found.observe(value)
    found.observe(2.0, times=3)
    assert found.cumulative() == [("1.0", 2.0), ("2.0", 6.0), ("+Inf", 7.0)]
    assert found.sum == pytest.approx(16.0)


Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def text_of(engine: EngineMetrics) -> str:
    exposition = Exposition("realm")
    exposition.add(engine, engine.refresh)
    return (await exposition.text()).decode()


async def scraped(engine: EngineMetrics) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(await text_of(engine))
        for sample in family.samples
    }


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"ipledger_{name}", frozenset({**labels, "realm": "realm"}.items())


async def test_what_the_log_tells_is_the_same_at_leader_and_standby() -> None:
    async with realm() as r:
        leader, standby = await r.leader("a"), await r.standby("b")
        client = r.client()
        await client.apply(ApplyPool(pool=POOL))
        await client.allocate(allocate(1))
        await client.allocate(allocate(2))
        await client.release(release(1))
        await standby.engine.look(lambda state: None, client.position, _ignore)
        shown = [await scraped(EngineMetrics(m.engine)) for m in (leader, standby)]
        for found in shown:
            pool = {"pool": "office", "ip_version": "4"}
            assert found[key("pool_addresses", **pool, state="allocated")] == 1
            assert found[key("pool_addresses", **pool, state="free")] == 1
            assert found[key("pools", ip_version="4")] == 1
            assert found[key("allocations_total")] == 2
            assert found[key("releases_total")] == 1
            assert found[key("live_allocations")] == 1
        assert shown[0][key("engine_role", role="leader")] == 1
        assert shown[1][key("engine_role", role="standby")] == 1
        assert shown[1][key("engine_projection_lag_commits")] == 0


async def test_a_leader_counts_requests_refusals_events_and_each_step_once() -> None:
    async with realm() as r:
        leader, client = await r.leader("a"), r.client()
        await client.apply(ApplyPool(pool=POOL))
        outcomes = await asyncio.gather(
            *(client.allocate(allocate(number)) for number in range(3)),
            return_exceptions=True,
        )
        assert sum(isinstance(one, BaseException) for one in outcomes) == 1
        found = await scraped(EngineMetrics(leader.engine))
        assert found[key("engine_requests_total", command="allocate", outcome="done")] == 2
        assert found[key("engine_requests_total", command="allocate", outcome="refused")] == 1
        assert found[key("engine_refusals_total", reason="PoolExhausted")] == 1
        assert found[key("engine_events_total", type="AddressesAllocated")] == 2
        assert found[key("engine_events_total", type="AllocationRefused")] == 1
        for step in ("queue", "decide", "commit", "answer"):
            counted = key("engine_step_duration_seconds_count", command="allocate", step=step)
            assert found[counted] == 3
        commits = found[key("engine_commit_duration_seconds_count")]
        assert commits == found[key("commits_total")]
        assert found[key("engine_commit_events_sum")] == found[key("events_total")]


async def test_nothing_is_told_of_a_commit_that_is_not_durable() -> None:
    async with realm() as r:
        r.log = log = GatedLog()
        leader, client = await r.leader("a"), r.client()
        await client.apply(ApplyPool(pool=POOL))
        metrics = EngineMetrics(leader.engine)
        before = await scraped(metrics)
        log.gate.clear()
        log.arrived.clear()
        asking = asyncio.create_task(client.allocate(allocate(1)))
        await log.arrived.wait()
        assert (await scraped(metrics))[key("allocations_total")] == 0
        assert before[key("allocations_total")] == 0
        log.gate.set()
        await asking
        assert (await scraped(metrics))[key("allocations_total")] == 1


async def test_a_standby_that_hears_of_more_than_it_has_folded_is_behind() -> None:
    async with realm() as r:
        leader, standby = await r.leader("a"), await r.standby("b")
        metrics = EngineMetrics(standby.engine)
        before = await text_of(metrics)
        told = Heartbeat("a", leader.engine.folded, "99.0")
        await leader.bus.publish(names.leader(REALM), msgspec.json.encode(told))
        await r.client().status()
        assert moved(before, await text_of(metrics), table.PROJECTION_LAG)
        lag = (await scraped(metrics))[key("engine_projection_lag_commits")]
        assert lag == 99 - standby.engine.folded


async def test_a_snapshot_that_was_taken_is_counted() -> None:
    async with realm() as r:
        leader = await r.leader("a", snapshots=Snapshots(MemorySnapshots(), REALM))
        metrics = EngineMetrics(leader.engine)
        before = await text_of(metrics)
        await r.client().apply(ApplyPool(pool=POOL))
        await leader.stop()
        assert moved(before, await text_of(metrics), table.SNAPSHOTS, table.SNAPSHOT_COMMITS)


async def test_a_client_counts_what_was_answered_and_what_never_was() -> None:
    async with realm() as r:
        lonely = r.client(timeout_s=0.1)
        with pytest.raises(EngineUnavailableError):
            await lonely.status()
        await r.leader("a")
        await lonely.status()
        assert (lonely.counts.unavailable, lonely.counts.answered) == (1, 1)
        assert lonely.counts.retries >= 1
        (requests, retries) = ClientMetrics(lonely, "agent").collect()
        found = {s.labels["outcome"]: s.value for s in requests.samples}
        assert found == {"answered": 1, "unavailable": 1}
        assert retries.samples[0].value == lonely.counts.retries


async def test_a_connection_that_is_not_there_is_shown() -> None:
    connection = NatsClient()
    connection.stats["reconnects"] = 2
    exposition = Exposition("realm")
    exposition.add_role("agent", connection)
    text = (await exposition.text()).decode()
    assert 'ipledger_nats_connected{connection="agent",realm="realm"} 0.0' in text
    assert 'ipledger_nats_reconnects_total{connection="agent",realm="realm"} 2.0' in text


async def test_sources_with_a_metric_in_common_are_one_family() -> None:
    exposition = Exposition("realm")
    async with realm() as r:
        for name in ("agent", "controller"):
            exposition.add(ClientMetrics(r.client(), name))
    text = (await exposition.text()).decode()
    assert text.count("# TYPE ipledger_client_retries_total counter") == 1
    assert text.count("ipledger_client_retries_total{") == 2
