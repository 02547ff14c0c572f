"""What makes a running collector look, without waiting for its next full comparison."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from support.apiserver import Fault
from support.apiserver.errors import StatusError
from support.collecting import NAMESPACE, Field

from ipledger.engine.commands import ApplyApplication, ReleaseAllocation
from ipledger.events.facts import Application, Owner
from ipledger.gc.collector import Collector
from ipledger.gc.report import Finding, Outcome, Report

NEVER_S = 1e6
UID = "12345678-1234-1234-1234-123456789abc"


class Running:
    """A collector that has compared once, and will not again while the test runs."""

    def __init__(self, field: Field, collector: Collector) -> None:
        self.field = field
        self._reports: asyncio.Queue[Report] = asyncio.Queue()
        self._seen: list[Finding] = []
        collector.on_report = self._reports.put_nowait

    async def until(self, outcome: Outcome, *pods: str) -> None:
        """Until pods, each as often as it is named, came out so."""
        async with asyncio.timeout(30):
            while Counter(pods) - Counter(f.pod for f in self._seen if f.outcome == outcome):
                self._seen += (await self._reports.get()).findings

    async def compared(self) -> None:
        """Until the first comparison is over: what comes from now on is another look's."""
        async with asyncio.timeout(30):
            self._seen += (await self._reports.get()).findings

    def outcomes(self, pod: str) -> list[str]:
        """What became of a pod at each look so far; nothing where it was kept."""
        return [f.outcome for f in self._seen if f.pod == pod]

    async def until_so_many(self, outcome: Outcome, count: int) -> None:
        """Until so many pods came out so."""
        async with asyncio.timeout(30):
            while len({f.pod for f in self._seen if f.outcome == outcome}) < count:
                self._seen += (await self._reports.get()).findings


@contextlib.asynccontextmanager
async def running(field: Field, **settings: float) -> AsyncGenerator[Running]:
    collector = field.collector(**{"interval_s": NEVER_S, "min_age_s": 0, **settings})
    made = Running(field, collector)
    task = asyncio.create_task(collector.run())
    try:
        await field.server.until_watched(2)
        await made.compared()
        yield made
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def ended(seconds_ago: float) -> dict[str, Any]:
    """The status of a container that has ended."""
    at = (datetime.now(UTC) - timedelta(seconds=seconds_ago)).isoformat()
    return {"state": {"terminated": {"finishedAt": at}}}


async def test_a_pod_that_goes_without_a_del_is_freed_when_the_watch_tells(field: Field) -> None:
    field.pod("other")
    async with running(field) as collector:
        pod = field.pod("web")
        await field.add(pod)
        await field.add(pod, "net1")
        field.delete("web")
        await collector.until(Outcome.FREED, "web", "web")
        assert await field.held() == []


async def test_a_stateful_set_that_is_newer_than_the_last_comparison_keeps_its_places(
    field: Field,
) -> None:
    """Such as the engine refuses to free, and the safety valve would count."""
    field.pod("other")
    cart = Application("apps/v1", "StatefulSet", NAMESPACE, "cart", UID, replicas=1)
    async with running(field) as collector:
        await field.engine.apply(ApplyApplication(application=cart))
        owner = Owner("apps/v1", "StatefulSet", "cart", UID)
        for name in ("cart-0", "cart-1"):  # the second is of no place: it is one too many
            await field.add(field.pod(name), owner=owner)
            field.delete(name)
        await collector.until(Outcome.FREED, "cart-1")
        assert collector.outcomes("cart-0") == []
        assert await field.held() == ["cart-0"]


async def test_a_stateful_set_that_was_made_smaller_since_the_last_comparison_loses_places(
    field: Field,
) -> None:
    field.pod("other")
    cart = Application("apps/v1", "StatefulSet", NAMESPACE, "cart", UID, replicas=2)
    await field.engine.apply(ApplyApplication(application=cart))
    owner = Owner("apps/v1", "StatefulSet", "cart", UID)
    for name in ("cart-0", "cart-1"):
        await field.add(field.pod(name), owner=owner)
    async with running(field) as collector:
        smaller = msgspec.structs.replace(cart, replicas=1)
        await field.engine.apply(ApplyApplication(application=smaller))
        field.delete("cart-1")
        await collector.until(Outcome.FREED, "cart-1")
        assert await field.held() == ["cart-0"]


async def test_a_jobs_pod_is_freed_when_its_grace_is_over(field: Field) -> None:
    field.pod("other")
    await field.add(field.pod("sum"))
    async with running(field) as collector:
        field.status("sum", phase="Succeeded", containerStatuses=[ended(seconds_ago=29)])
        await collector.until(Outcome.LATER, "sum")
        assert await field.held() == ["sum"]
        await collector.until(Outcome.FREED, "sum")


async def test_a_terminating_pod_on_a_lost_node_is_freed_when_its_grace_is_over(
    field: Field,
) -> None:
    field.pod("other")
    field.node("n2", ready="Unknown")
    await field.add(field.pod("web", node="n2"), node="n2")
    async with running(field) as collector:
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/web"
        await field.api.call("DELETE", path, {"gracePeriodSeconds": 1})
        await collector.until(Outcome.FREED, "web")


async def test_a_terminating_pod_whose_containers_run_is_left_alone(field: Field) -> None:
    field.pod("other")
    await field.add(field.pod("web"))
    await field.add(field.pod("gone"))
    async with running(field) as collector:
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/web"
        await field.api.call("DELETE", path, {"gracePeriodSeconds": 1})
        field.clock.pass_seconds(10)
        field.status("web", phase="Running")  # its kubelet is heard, and says so
        await collector.until(Outcome.LATER, "web")
        field.delete("gone")
        await collector.until(Outcome.FREED, "gone")
        assert await field.held() == ["web"]


async def test_pods_that_vanished_while_the_watch_was_broken_are_freed(field: Field) -> None:
    field.pod("other")
    for name in ("a", "b"):
        await field.add(field.pod(name))
    async with running(field) as collector:
        await field.server.stop()
        field.delete("a")
        field.server.store.compact()
        await field.server.start()
        await collector.until(Outcome.FREED, "a")
        assert await field.held() == ["b"]


async def test_a_failed_read_is_made_again_and_nothing_is_freed_meanwhile(field: Field) -> None:
    field.pod("other")
    await field.add(field.pod("web"))
    async with running(field) as collector:
        error = StatusError("ServiceUnavailable", "not now")
        field.server.faults.append(Fault("get", "pods", times=1, error=error))
        field.delete("web")
        await collector.until(Outcome.UNCONFIRMED, "web")
        assert await field.held() == ["web"]
        field.clock.pass_seconds(60)
        await field.add(field.pod("nudge"))
        field.delete("nudge")  # another look, at which the first one is due again
        await collector.until(Outcome.FREED, "nudge", "web")


async def test_a_mass_deletion_that_the_watch_tells_is_held_back_by_the_valve(
    field: Field,
) -> None:
    field.pod("other")
    names = [f"web-{number:02}" for number in range(30)]
    for name in names:
        await field.add(field.pod(name))
    async with running(field) as collector:
        for name in names:
            field.delete(name)
        await collector.until_so_many(Outcome.WITHHELD, 20)
        assert len(await field.held()) >= 20


async def test_what_an_operator_freed_first_is_no_trouble(field: Field) -> None:
    field.pod("other")
    row = await field.add(field.pod("web"))
    async with running(field) as collector:
        gate = asyncio.Event()
        field.server.faults.append(Fault("get", "pods", gate=gate))
        field.delete("web")
        await field.server.until(lambda server: server.count("get", "pods") == 1)
        await field.engine.release_allocation(ReleaseAllocation(allocation=row.id))
        gate.set()
        await collector.until(Outcome.REFUSED, "web")
        await field.add(field.pod("again"))
        field.delete("again")
        await collector.until(Outcome.FREED, "again")


async def test_a_leak_that_no_watch_tells_of_is_found_by_the_next_full_comparison(
    field: Field,
) -> None:
    """Its ADD comes when its pod was gone before the collector began."""
    field.pod("other")
    pod = field.pod("late")
    field.delete("late")
    async with running(field, interval_s=0.05) as collector:
        await field.add(pod)
        await collector.until(Outcome.FREED, "late")
        assert await field.held() == []


async def test_how_many_are_believed_follows_the_allocations_there_are_now(field: Field) -> None:
    field.node()
    async with running(field, count_max=1) as collecting:  # it has compared none with none
        pods = [field.pod(f"web-{number}") for number in range(20)]
        for pod in pods:
            await field.add(pod)
        for name in ("web-0", "web-1", "web-2"):
            field.delete(name)
        await collecting.until(Outcome.FREED, "web-0", "web-1", "web-2")
