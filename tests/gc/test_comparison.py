"""A full comparison: what it frees, and what keeps it from freeing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import generate_latest
from support.apiserver import Fault
from support.apiserver.errors import StatusError
from support.collecting import NAMESPACE, Field
from support.moved import moved

from ipledger.engine.commands import ApplyApplication, ApplySubnet, Release
from ipledger.engine.metrics import table
from ipledger.events.clock import parse_time
from ipledger.events.facts import Application, Owner, SubnetSpec
from ipledger.events.types import AddressesReleased
from ipledger.gc import metrics
from ipledger.gc.applications import known_applications
from ipledger.gc.report import Outcome, Report

UID = "0b1c2d3e-0000-4000-8000-000000000009"
FORBIDDEN = StatusError("Forbidden", "pods is forbidden")
CART = Owner("apps/v1", "StatefulSet", "cart", UID)


def outcomes(report: Report) -> dict[str, str]:
    return {finding.pod: finding.outcome for finding in report.findings}


async def test_all_and_only_the_zombies_are_freed(field: Field) -> None:
    live = field.pod("live")
    await field.add(live)
    await field.add(live, "net1")
    await field.zombies(3)
    field.clock.pass_seconds(60)

    report = await field.compare()

    assert await field.held() == ["live", "live"]
    assert (report.total, report.zombies, report.outcomes(Outcome.FREED)) == (5, 3, 3)
    assert {finding.reason for finding in report.findings} == {"gone"}


async def test_the_release_says_what_was_seen_and_when_it_was_confirmed(field: Field) -> None:
    field.pod("other")
    await field.zombies(1)
    field.clock.pass_seconds(60)
    await field.compare()
    [event] = [e for e in await field.events() if isinstance(e, AddressesReleased)]
    seen, _, at = event.evidence.rpartition(", confirmed at ")
    assert (event.reason, seen) == ("gc", f"gone: no pod {NAMESPACE}/gone-0")
    assert parse_time(at) <= field.clock()


async def test_a_dry_run_frees_nothing_and_says_what_it_would_free(field: Field) -> None:
    field.pod("other")
    await field.zombies(2)
    field.clock.pass_seconds(60)
    report = await field.compare(dry_run=True)
    assert outcomes(report) == {"gone-0": "would be freed", "gone-1": "would be freed"}
    assert await field.held() == ["gone-0", "gone-1"]


def shown() -> str:
    """The metrics of the collector as a scrape has them."""
    return generate_latest(metrics.REGISTRY).decode()


async def test_a_young_allocation_is_looked_at_later(field: Field) -> None:
    field.pod("other")
    await field.zombies(1)
    report = await field.compare()
    assert [(f.reason, f.outcome) for f in report.findings] == [("young", "later")]
    assert await field.held() == ["gone-0"]


async def test_a_pod_that_the_watch_does_not_have_yet_is_spared_by_a_direct_read(
    field: Field,
) -> None:
    """The watch is synced before the pod is there, and then hears nothing more."""
    collector = field.collector(min_age_s=0)
    field.pod("other")
    await collector.view.sync(30)
    await field.add(field.pod("late"))

    before = shown()
    report = await collector.compare()

    assert outcomes(report) == {"late": "spared"}
    assert moved(before, shown(), table.GC_SPARED)
    assert await field.held() == ["late"]


async def test_a_pod_that_was_replaced_behind_the_watch_is_freed_and_the_new_one_is_not(
    field: Field,
) -> None:
    collector = field.collector(min_age_s=0)
    await field.add(field.pod("web"))
    await collector.view.sync(30)
    field.delete("web")
    await field.add(field.pod("web"))  # another UID

    report = await collector.compare()

    assert [(f.reason, f.outcome) for f in report.findings] == [("replaced", "spared")]
    await field.compare(field.collector(min_age_s=0))
    assert await field.held() == ["web"]


async def test_a_pod_in_a_new_sandbox_since_it_was_read_is_refused_by_the_engine(
    field: Field,
) -> None:
    """What a stale picture names is not what is there: here a machine's next pod took over."""
    machine = Owner("kubevirt.io/v1", "VirtualMachine", "db", UID)
    told = Application("kubevirt.io/v1", "VirtualMachine", NAMESPACE, "db", UID)
    field.pod("other")
    first = field.pod("virt-launcher-1")
    await field.add(first, owner=machine)
    field.delete("virt-launcher-1")
    field.clock.pass_seconds(60)
    collector = field.collector()
    gate = asyncio.Event()
    field.server.faults.append(Fault("get", "pods", gate=gate))
    await collector.view.sync(30)
    comparing = asyncio.create_task(collector.compare())
    await field.server.until(lambda server: server.count("get", "pods") == 1)
    await field.engine.apply(ApplyApplication(application=told))
    second = field.pod("virt-launcher-2")
    await field.add(second, owner=machine)
    before = shown()
    gate.set()

    report = await comparing

    assert [(f.pod, f.outcome) for f in report.findings] == [("virt-launcher-1", "refused")]
    assert moved(before, shown(), table.GC_REFUSED)
    assert "PodChanged" in report.findings[0].detail
    assert await field.held() == ["virt-launcher-2"]


async def test_what_is_kept_for_a_stateful_sets_next_pod_stays(field: Field) -> None:
    told = Application("apps/v1", "StatefulSet", NAMESPACE, "cart", UID, replicas=2)
    await field.engine.apply(ApplyApplication(application=told))
    made = field.server.create("apps/v1", "statefulsets", {"metadata": {"name": "cart"}}, NAMESPACE)
    assert made
    field.pod("other")
    for name in ("cart-0", "cart-1", "cart-2"):
        await field.add(field.pod(name), owner=CART)
        field.delete(name)
    field.clock.pass_seconds(60)
    report = await field.compare()
    assert await field.held() == ["cart-0", "cart-1"]
    assert report.counts["keep", "place-exists"] == 2


async def test_an_auto_pool_goes_with_its_application_once_the_last_leak_in_it_is_freed(
    field: Field,
) -> None:
    """The Deployment and its pod go while nobody looks, and no DEL comes."""
    await field.engine.apply(
        ApplySubnet(subnet=SubnetSpec("s", 4, "10.2.0.0/16", ("10.2.0.1-10.2.0.99",)))
    )
    asks = {"ipam.spidernet.io/subnet": '{"ipv4":["s"]}'}
    told = Application("apps/v1", "Deployment", NAMESPACE, "web", UID, annotations=asks)
    await field.engine.apply(ApplyApplication(application=told))
    [pool] = [row.name for row in (await field.engine.pools()).pools if row.subnet == "10.2.0.0/16"]
    field.pod("other")
    owner = Owner("apps/v1", "Deployment", "web", UID)
    row = await field.add(field.pod("web-1"), owner=owner, annotations=asks)
    assert [address.pool for address in row.addresses] == [pool]
    field.delete("web-1")
    field.clock.pass_seconds(60)
    collector = field.collector()

    await field.compare(collector)
    field.clock.pass_seconds(60)
    report = await collector.compare()

    assert report.applications == [f"Deployment {NAMESPACE}/web"]
    assert (await field.engine.pools(pool)).pools == ()


async def test_an_application_that_is_gone_goes_with_its_holds(field: Field) -> None:
    gone = Application("apps/v1", "StatefulSet", NAMESPACE, "cart", UID, replicas=2)
    await field.engine.apply(ApplyApplication(application=gone))
    by_hand = Application("apps/v1", "StatefulSet", NAMESPACE, "manual", replicas=2)
    await field.engine.apply(ApplyApplication(application=by_hand))
    field.pod("other")
    await field.add(field.pod("cart-0"), owner=CART)
    await field.engine.release(Release(sandbox="sandbox-1", interface="eth0", node="n1"))
    field.delete("cart-0")
    assert await field.held() == ["cart-0"]
    collector = field.collector()

    assert (await field.compare(collector)).applications == []
    field.clock.pass_seconds(29)
    assert (await collector.compare()).applications == []
    field.clock.pass_seconds(1)
    report = await collector.compare()

    assert report.applications == [f"StatefulSet {NAMESPACE}/cart"]
    assert await field.held() == []
    assert [a.name for a in (await known_applications(field.engine)).values()] == ["manual"]


async def test_an_application_that_is_gone_goes_at_once_if_somebody_is_sure(field: Field) -> None:
    gone = Application("apps/v1", "StatefulSet", NAMESPACE, "cart", UID, replicas=2)
    await field.engine.apply(ApplyApplication(application=gone))
    field.pod("other")

    assert len((await field.compare(dry_run=True)).applications) == 1
    assert len((await field.compare(sure=True)).applications) == 1
    assert await known_applications(field.engine) == {}


async def test_many_applications_that_are_gone_go_at_a_second_look(field: Field) -> None:
    for number in range(3):
        uid = f"{number:08x}-0000-4000-8000-000000000000"
        told = Application("apps/v1", "StatefulSet", NAMESPACE, f"cart-{number}", uid)
        await field.engine.apply(ApplyApplication(application=told))
    field.pod("other")
    collector = field.collector(min_age_s=0, count_max=2, share_max=0.5, second_look_s=600)

    first = await field.compare(collector)
    assert "3 of 3 applications seem to be gone" in first.withheld
    field.clock.pass_seconds(599)
    assert (await collector.compare()).applications == []
    field.clock.pass_seconds(1)
    assert len((await collector.compare()).applications) == 3


async def test_an_application_that_is_back_is_looked_at_as_if_for_the_first_time(
    field: Field,
) -> None:
    told = Application("apps/v1", "StatefulSet", NAMESPACE, "cart", UID, replicas=2)
    await field.engine.apply(ApplyApplication(application=told))
    field.pod("other")
    collector = field.collector()
    await field.compare(collector)
    field.server.create("apps/v1", "statefulsets", {"metadata": {"name": "cart"}}, NAMESPACE)
    await collector.compare()
    field.server.delete("statefulsets", "cart", NAMESPACE)
    field.clock.pass_seconds(60)

    assert (await collector.compare()).applications == []


async def test_what_is_read_of_a_server_without_any_pod_is_not_believed(field: Field) -> None:
    """The watch still has what it knew: the server was started with an empty state since."""
    gone = Application("apps/v1", "StatefulSet", NAMESPACE, "cart", UID, replicas=2)
    await field.engine.apply(ApplyApplication(application=gone))
    collector = field.collector(min_age_s=0)
    field.pod("other")
    await collector.view.sync(30)
    await field.add(field.pod("new"))
    for name in ("new", "other"):
        field.delete(name)
    metrics.WITHHELD.set(0)

    before = shown()
    report = await collector.compare()
    withheld = shown()

    assert [f.outcome for f in report.findings] == ["withheld"]
    assert (report.withheld, report.applications) == ("the API server knows no pod at all", [])
    assert await field.held() == ["new"]
    assert moved(before, withheld, table.GC_WITHHELD)
    assert len((await collector.compare(sure=True)).applications) == 1
    assert moved(withheld, shown(), table.GC_APPLICATIONS_DELETED, table.GC_FREED)
    assert moved(shown(), withheld, table.GC_WITHHELD), "none is any more"
    assert await field.held() == []


async def test_an_application_under_its_name_with_another_uid_is_left_to_the_controller(
    field: Field,
) -> None:
    told = Application("apps/v1", "StatefulSet", NAMESPACE, "cart", UID, replicas=2)
    await field.engine.apply(ApplyApplication(application=told))
    field.server.create("apps/v1", "statefulsets", {"metadata": {"name": "cart"}}, NAMESPACE)
    field.pod("other")
    assert (await field.compare()).applications == []


async def test_an_application_that_a_list_leaves_out_is_asked_for_before_it_goes(
    field: Field,
) -> None:
    made = field.server.create("apps/v1", "statefulsets", {"metadata": {"name": "cart"}}, NAMESPACE)
    told = Application("apps/v1", "StatefulSet", NAMESPACE, "cart", made["metadata"]["uid"])
    await field.engine.apply(ApplyApplication(application=told))
    field.pod("other")
    empty: dict[str, Any] = {"metadata": {"resourceVersion": "1"}, "items": []}
    field.server.faults.append(Fault("list", "statefulsets", times=9, answer=empty))
    assert (await field.compare(sure=True)).applications == []
    assert [a.name for a in (await known_applications(field.engine)).values()] == ["cart"]


async def test_an_application_of_a_kind_that_cannot_be_listed_stays(field: Field) -> None:
    told = Application("apps.kruise.io/v1", "CloneSet", NAMESPACE, "app", UID)
    await field.engine.apply(ApplyApplication(application=told))
    field.pod("other")
    assert (await field.compare()).applications == []
    assert [a.name for a in (await known_applications(field.engine)).values()] == ["app"]


@pytest.mark.parametrize(
    "reason", ["InternalError", "ServiceUnavailable", "Unauthorized", "TooManyRequests"]
)
async def test_nothing_is_freed_when_the_direct_read_fails(field: Field, reason: str) -> None:
    field.pod("other")
    await field.zombies(3)
    field.clock.pass_seconds(60)
    error = StatusError(reason, "not now")
    field.server.faults.append(Fault("get", "pods", times=99, error=error))
    before = shown()
    report = await field.compare()
    assert moved(before, shown(), table.GC_API_FAILURES)
    assert await field.held() == ["gone-0", "gone-1", "gone-2"]
    assert report.outcomes(Outcome.UNCONFIRMED) == 3
    assert "not now" in report.failure


async def test_nothing_is_freed_when_the_api_server_goes_away_behind_the_list(
    field: Field,
) -> None:
    field.pod("other")
    await field.zombies(3)
    field.clock.pass_seconds(60)
    collector = field.collector()
    await collector.view.sync(30)
    await field.server.stop()
    report = await collector.compare()
    await field.server.start()
    assert len(await field.held()) == 3
    assert report.failure


async def test_nothing_is_freed_on_a_proxys_404(field: Field) -> None:
    field.pod("other")
    await field.zombies(1)
    field.clock.pass_seconds(60)

    class PageError(StatusError):
        def status(self) -> dict[str, Any]:
            return {"code": 404, "message": "nothing here"}

    field.server.faults.append(Fault("get", "pods", error=PageError("NotFound", "nothing here")))
    report = await field.compare()
    assert report.outcomes(Outcome.UNCONFIRMED) == 1
    assert await field.held() == ["gone-0"]


async def test_a_404_about_another_thing_than_the_pod_is_not_believed(field: Field) -> None:
    """So does a gateway speak that has lost the cluster, in Kubernetes' own words."""
    field.pod("other")
    await field.zombies(1)
    field.clock.pass_seconds(60)
    lost = StatusError("NotFound", 'clusters "c-1" not found', name="c-1")
    field.server.faults.append(Fault("get", "pods", error=lost))
    report = await field.compare()
    assert report.outcomes(Outcome.UNCONFIRMED) == 1
    assert await field.held() == ["gone-0"]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"metadata": {"name": "other", "namespace": NAMESPACE, "uid": UID}},
        {"metadata": {"name": "late", "namespace": "elsewhere", "uid": UID}},
    ],
    ids=["nothing", "another pod", "another namespace"],
)
async def test_an_answer_that_is_not_the_pod_is_not_taken_for_a_pod_that_replaced_it(
    field: Field, answer: dict[str, Any]
) -> None:
    """The watch does not have the pod yet: all hangs on the direct read."""
    collector = field.collector(min_age_s=0)
    field.pod("other")
    await collector.view.sync(30)
    await field.add(field.pod("late"))
    field.server.faults.append(Fault("get", "pods", answer=answer))
    report = await collector.compare()
    assert outcomes(report) == {"late": "unconfirmed"}
    assert await field.held() == ["late"]


@pytest.mark.parametrize("how", [{"error": FORBIDDEN}, {"answer": {}}], ids=["forbidden", "odd"])
async def test_a_pod_that_cannot_be_read_keeps_its_address_and_no_other_pod_does(
    field: Field, how: dict[str, Any]
) -> None:
    """There are more of them than are read at once."""
    field.pod("other")
    hidden = [field.pod(f"hidden-{number:02}") for number in range(40)]
    for pod in hidden:
        await field.add(pod)
        field.delete(pod.name)
    await field.zombies(3)
    field.clock.pass_seconds(60)
    field.server.faults.append(
        Fault("get", "pods", times=99, when=lambda call: "hidden" in call.name, **how)
    )
    report = await field.compare(field.collector(count_max=100))
    assert report.outcomes(Outcome.FREED) == 3
    assert await field.held() == [pod.name for pod in hidden]
    assert report.outcomes(Outcome.UNCONFIRMED) == 40


async def test_a_failed_read_ends_the_look_for_those_that_were_not_asked_for_yet(
    field: Field,
) -> None:
    field.pod("other")
    await field.zombies(40)
    field.clock.pass_seconds(60)
    gate = asyncio.Event()
    error = StatusError("ServiceUnavailable", "not now")
    field.server.faults += [
        Fault("get", "pods", error=error),
        Fault("get", "pods", times=31, gate=gate),
    ]
    comparing = asyncio.create_task(field.compare(field.collector(count_max=100)))
    await field.server.until(lambda server: server.count("get", "pods") == 32)
    gate.set()
    report = await comparing
    assert (report.outcomes(Outcome.FREED), report.outcomes(Outcome.UNCONFIRMED)) == (31, 9)


async def test_a_node_that_is_heard_again_since_the_watch_told_is_believed(field: Field) -> None:
    field.pod("other")
    await field.add(field.pod("web"))
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/web"
    await field.api.call("DELETE", path, {"gracePeriodSeconds": 1})
    field.clock.pass_seconds(60)
    field.node("n1", ready="Unknown")
    collector = field.collector()
    await collector.view.sync(30)
    field.node("n1")
    report = await collector.compare()
    assert outcomes(report) == {"web": "spared"}
    assert await field.held() == ["web"]


async def test_an_evicted_pod_whose_status_has_no_time_is_freed_a_grace_after_it_was_seen(
    field: Field,
) -> None:
    await field.add(field.pod("web"))
    field.status("web", phase="Failed", reason="Evicted")
    field.clock.pass_seconds(60)
    collector = field.collector()
    assert outcomes(await field.compare(collector)) == {"web": "later"}
    field.clock.pass_seconds(29)
    assert outcomes(await collector.compare()) == {"web": "later"}
    field.clock.pass_seconds(2)
    assert outcomes(await collector.compare()) == {"web": "freed"}


async def test_an_allocation_is_as_young_as_its_last_sandbox(field: Field) -> None:
    field.pod("other")
    pod = field.pod("web")
    await field.add(pod)
    field.clock.pass_seconds(60)
    await field.add(pod)
    field.delete("web")
    report = await field.compare()
    assert [(f.reason, f.outcome) for f in report.findings] == [("young", "later")]


async def test_a_sandbox_that_came_since_the_pod_was_read_keeps_the_address(field: Field) -> None:
    """The release names the sandbox that was judged."""
    field.pod("other")
    pod = field.pod("web")
    await field.add(pod)
    field.status("web", phase="Running", podIPs=[])
    collector = field.collector(min_age_s=0, running_without_ips=True)
    gate = asyncio.Event()
    field.server.faults.append(Fault("get", "pods", gate=gate))
    await collector.view.sync(30)
    comparing = asyncio.create_task(collector.compare())
    await field.server.until(lambda server: server.count("get", "pods") == 1)
    await field.add(pod)
    gate.set()
    report = await comparing
    assert [(f.outcome, f.detail.split(":")[0]) for f in report.findings] == [
        ("refused", "SandboxChanged")
    ]
    assert await field.held() == ["web"]


async def test_of_two_interfaces_the_one_that_had_its_del_is_gone_and_the_other_is_freed(
    field: Field,
) -> None:
    field.pod("other")
    pod = field.pod("web")
    sandbox = (await field.add(pod)).sandbox
    await field.add(pod, "net1")
    await field.engine.release(Release(sandbox=sandbox, interface="eth0", node="n1"))
    field.delete("web")
    field.clock.pass_seconds(60)
    report = await field.compare()
    assert [(f.interface, f.outcome) for f in report.findings] == [("net1", "freed")]
    assert await field.held() == []


async def test_a_pods_node_is_the_one_that_its_object_names(field: Field) -> None:
    """The agent was told another name, of which there is no node: its pods are not lost ones."""
    field.pod("other")
    collector = field.collector(min_age_s=0)
    await field.add(field.pod("web"), node="n1.example.com")
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/web"
    await field.api.call("DELETE", path, {"gracePeriodSeconds": 1})
    field.clock.pass_seconds(60)
    report = await field.compare(collector)
    assert [(f.pod, f.reason) for f in report.findings] == [("web", "still-running")]
    assert await field.held() == ["web"]


async def test_nothing_is_freed_when_the_api_server_knows_no_pod(field: Field) -> None:
    await field.zombies(1)
    field.clock.pass_seconds(3600)
    collector = field.collector()
    report = await field.compare(collector)
    assert report.withheld == "the API server knows no pod at all"
    field.clock.pass_seconds(3600)
    assert (await collector.compare()).outcomes(Outcome.WITHHELD) == 1
    assert await field.held() == ["gone-0"]
    assert (await collector.compare(sure=True)).outcomes(Outcome.FREED) == 1


async def test_an_answer_that_would_free_too_much_waits_for_a_second_look(field: Field) -> None:
    await field.add(field.pod("live"))
    await field.zombies(11)
    field.clock.pass_seconds(60)
    collector = field.collector()

    report = await field.compare(collector)
    assert report.outcomes(Outcome.WITHHELD) == 11
    assert "11 of 12 allocations" in report.withheld
    field.clock.pass_seconds(599)
    assert (await collector.compare()).outcomes(Outcome.FREED) == 0
    field.clock.pass_seconds(2)
    assert (await collector.compare()).outcomes(Outcome.FREED) == 11
    assert await field.held() == ["live"]


async def test_who_is_sure_frees_any_number(field: Field) -> None:
    field.pod("other")
    await field.zombies(11)
    field.clock.pass_seconds(60)
    assert (await field.compare(sure=True)).outcomes(Outcome.FREED) == 11
    assert await field.held() == []


async def test_two_collectors_at_once_free_each_zombie_once(field: Field) -> None:
    field.pod("other")
    await field.zombies(8)
    field.clock.pass_seconds(60)
    reports = await asyncio.gather(field.compare(), field.compare())
    freed = sum(report.outcomes(Outcome.FREED) for report in reports)
    refused = sum(report.outcomes(Outcome.REFUSED) for report in reports)
    looked = sum(report.zombies for report in reports)
    assert (freed, freed + refused) == (8, looked)
    assert await field.held() == []


async def test_a_list_that_breaks_off_frees_nothing_until_it_is_whole(field: Field) -> None:
    for number in range(20):
        await field.add(field.pod(f"live-{number}"))
    field.clock.pass_seconds(60)
    field.server.faults.append(Fault("list", "pods", drop=True, after_bytes=2000))
    report = await field.compare()
    assert report.zombies == 0
    assert len(await field.held()) == 20
