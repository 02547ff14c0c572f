"""The watch core against an API server that does everything wrong that one can do.

Nothing is missed: whatever happens, who hears the changes knows what is there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.apiserver import ApiServer, Fault
from support.apiserver.errors import StatusError
from support.heard import hearing

from ipledger.projections.cluster.kinds import CRON_JOBS, PODS, POOLS, Kind
from ipledger.projections.cluster.live.api import Api
from ipledger.projections.cluster.live.connect import connected
from ipledger.projections.cluster.live.pauses import Pauses
from ipledger.projections.cluster.live.watch import Selection, Watch

QUICK = 0.01


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ApiServer]:
    server = ApiServer()
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def api(server: ApiServer, tmp_path: Path) -> AsyncIterator[Api]:
    async with connected(server.kubeconfig(tmp_path)) as api:
        yield api


def watch(api: Api, kind: Kind[Any] = PODS, **settings: Any) -> Watch[Any]:
    pauses = Pauses(lambda: 0.5, first_s=QUICK, longest_s=QUICK)
    return Watch(api, kind, random=lambda: 0.5, pauses=pauses, **settings)


def pod(server: ApiServer, name: str, node: str = "n1", **metadata: Any) -> None:
    body = {"metadata": {**metadata, "name": name}, "spec": {"nodeName": node}}
    server.create("v1", "pods", body, "default")


def pods(server: ApiServer, count: int) -> set[str]:
    names = [f"web-{number}" for number in range(count)]
    for name in names:
        pod(server, name)
    return set(names)


def lists(server: ApiServer) -> list[dict[str, str]]:
    return [call.query for call in server.calls if call.verb == "list"]


def whole_lists(server: ApiServer) -> int:
    """How many lists were begun that ask for more than the version."""
    return sum(query.get("limit") != "1" for query in lists(server))


async def test_what_is_there_is_added_then_each_change_is_told(server: ApiServer, api: Api) -> None:
    pod(server, "web")
    async with hearing(watch(api)) as heard:
        await heard.synced()
        pod(server, "late")
        server.change("pods", "web", "default", status={"phase": "Running"})
        server.delete("pods", "late", "default")
        await heard.until(lambda: len(heard.changes) == 5)
        assert heard.words() == [
            "added web",
            "synced",
            "added late",
            "modified web",
            "deleted late",
        ]


async def test_a_list_is_read_in_pages(server: ApiServer, api: Api) -> None:
    names = pods(server, 7)
    async with hearing(watch(api, page_objects=3)) as heard:
        await heard.synced()
        assert {key.name for key in heard.objects} == names
        assert [query.get("limit") for query in lists(server)] == ["3", "3", "3"]


async def test_only_what_is_selected_is_told(server: ApiServer, api: Api) -> None:
    pod(server, "mine", labels={"app": "web"})
    pod(server, "other-label")
    pod(server, "other-node", node="n2", labels={"app": "web"})
    server.create(
        "v1", "pods", {"metadata": {"name": "other", "labels": {"app": "web"}}}, "kube-system"
    )
    where = Selection("default", "spec.nodeName=n1", "app=web")
    async with hearing(watch(api, where=where)) as heard:
        await heard.synced()
        await heard.named("mine")
        pod(server, "second", labels={"app": "web"})
        await heard.named("mine", "second")
        server.change("pods", "mine", "default", metadata={"labels": {"app": "db"}})
        await heard.named("second")


async def test_a_lost_connection_is_resumed_where_it_broke(server: ApiServer, api: Api) -> None:
    pods(server, 3)
    async with hearing(watch(api)) as heard:
        await heard.synced()
        await server.until_watched()
        server.drop_watches()
        server.delete("pods", "web-1", "default")
        await heard.named("web-0", "web-2")
        assert whole_lists(server) == 1


async def test_a_deletion_that_no_watch_can_tell_any_more_is_found_by_listing_again(
    server: ApiServer, api: Api
) -> None:
    names = pods(server, 3)
    async with hearing(watch(api)) as heard:
        await heard.named(*names)
        await server.until_watched()
        await server.stop()
        server.delete("pods", "web-1", "default")
        pod(server, "new")
        server.store.compact()
        await server.start()
        await heard.synced(2)
        assert heard.words()[-3:] == ["added new", "deleted web-1", "synced"]


async def test_a_pod_deleted_and_made_again_unseen_is_deleted_and_added(
    server: ApiServer, api: Api
) -> None:
    pod(server, "web-0")
    async with hearing(watch(api)) as heard:
        await heard.synced()
        await server.until_watched()
        await server.stop()
        server.delete("pods", "web-0", "default")
        pod(server, "web-0")
        server.store.compact()
        await server.start()
        await heard.synced(2)
        assert heard.words() == ["added web-0", "synced", "deleted web-0", "added web-0", "synced"]


async def test_an_expired_version_in_answer_to_the_watch_lists_again(
    server: ApiServer, api: Api
) -> None:
    server.faults = [Fault("watch", error=StatusError("Expired", "too old resource version"))]
    async with hearing(watch(api)) as heard:
        await heard.synced(2)


@pytest.mark.parametrize("reason", ["Expired", "InternalError"])
async def test_an_error_event_lists_again(server: ApiServer, api: Api, reason: str) -> None:
    error = {"type": "ERROR", "object": StatusError(reason, "cannot go on").status()}
    server.faults = [Fault("watch", event=error)]
    async with hearing(watch(api)) as heard:
        await heard.synced(2)


async def test_a_list_whose_pages_expire_begins_again_in_one_piece(
    server: ApiServer, api: Api
) -> None:
    names = pods(server, 5)
    gate = asyncio.Event()
    server.faults = [Fault("list", gate=gate, when=lambda call: "continue" in call.query)]
    async with hearing(watch(api, page_objects=2)) as heard:
        await heard.until(lambda: len(heard.changes) == 2)
        server.delete("pods", "web-0", "default")
        server.store.compact()
        gate.set()
        await heard.synced()
        assert {key.name for key in heard.objects} == names - {"web-0"}
        assert [("limit" in q, "continue" in q) for q in lists(server)] == [
            (True, False),
            (True, True),
            (False, False),
        ]


async def test_a_list_that_breaks_in_the_middle_begins_again(server: ApiServer, api: Api) -> None:
    names = pods(server, 3)
    server.faults = [Fault("list", drop=True), Fault("list", drop=True, after_bytes=40)]
    async with hearing(watch(api)) as heard:
        await heard.named(*names)


@pytest.mark.parametrize(
    "reason",
    ["InternalError", "ServiceUnavailable", "TooManyRequests", "Forbidden", "Unauthorized"],
)
@pytest.mark.parametrize("verb", ["list", "watch"])
async def test_an_error_is_tried_again_until_it_is_over(
    server: ApiServer, api: Api, verb: str, reason: str
) -> None:
    pod(server, "web")
    server.faults = [Fault(verb, times=3, error=StatusError(reason, "not now"))]
    watching = watch(api)
    async with hearing(watching) as heard:
        await heard.synced()
        await server.until_watched()
        pod(server, "late")
        await heard.named("web", "late")
        assert whole_lists(server) == (4 if verb == "list" else 1)
        counts = watching.counts
        assert (counts.failures, counts.lists, counts.events) == (3, 1, 1)
        assert counts.restarts == (1 if verb == "list" else 4)
        assert (counts.objects, counts.is_synced) == (2, True)


async def test_a_server_that_is_away_is_waited_for(server: ApiServer, api: Api) -> None:
    await server.stop()
    async with hearing(watch(api)) as heard:
        pod(server, "web")
        await server.start()
        await heard.named("web")


async def test_a_resource_that_is_not_defined_yet_is_waited_for(
    server: ApiServer, api: Api
) -> None:
    async with hearing(watch(api, POOLS)) as heard:
        await server.until(lambda s: s.not_found)
        version = "spiderpool.spidernet.io/v2beta1"
        server.define(version, "spiderippools", "SpiderIPPool", "Cluster")
        pool = {"metadata": {"name": "blue"}, "spec": {"subnet": "10.6.0.0/16"}}
        server.create(version, "spiderippools", pool)
        await heard.named("blue")
        [found] = heard.objects.values()
        assert bytes(found.spec) == b'{"subnet": "10.6.0.0/16"}'  # type: ignore[attr-defined]


async def test_a_server_that_falls_silent_is_left_and_nothing_is_missed(
    server: ApiServer, api: Api
) -> None:
    pauses = Pauses(lambda: 0.5, first_s=3600)
    async with hearing(Watch(api, PODS, random=lambda: 0.5, pauses=pauses, silence_s=0.2)) as heard:
        await heard.synced()
        await server.until(lambda s: s.count("watch", "pods") == 3)
        pod(server, "web")
        await heard.named("web")
        assert whole_lists(server) == 1


async def test_bookmarks_carry_the_version_over_a_quiet_time(server: ApiServer, api: Api) -> None:
    async with hearing(watch(api, where=Selection(fields="spec.nodeName=n1"))) as heard:
        await heard.synced()
        await server.until_watched()
        pod(server, "elsewhere", node="n2")  # moves the version, and is not told
        server.bookmark()
        await server.until(lambda s: s.bookmarks_told == 1)
        await server.stop()
        server.store.compact()
        pod(server, "web")
        await server.start()
        await heard.named("web")
        assert whole_lists(server) == 1


async def test_a_watch_that_ends_at_once_and_always_is_not_opened_in_a_rush(
    server: ApiServer, api: Api
) -> None:
    server.faults = [Fault("watch", times=5, ends=True)]
    asked: list[float] = []

    def random() -> float:
        asked.append(0.5)
        return 0.5

    pauses = Pauses(random, first_s=QUICK, longest_s=QUICK)
    slow = Watch(api, PODS, random=lambda: 0.5, pauses=pauses)
    async with hearing(slow) as heard:
        await heard.synced()
        await server.until(lambda s: s.count("watch", "pods") == 6)
        assert len(asked) == 5


async def test_a_list_from_the_cache_is_never_older_than_what_was_seen(
    server: ApiServer, api: Api
) -> None:
    pod(server, "web")
    error = {"type": "ERROR", "object": StatusError("Expired", "too old").status()}
    server.faults = [Fault("watch", event=error)]
    async with hearing(watch(api, from_cache=True)) as heard:
        await heard.synced(2)
        first, second = lists(server)
        assert first == {"resourceVersion": "0"}
        assert second == {"resourceVersion": str(server.store.cached("pods"))}


async def test_a_cache_that_does_not_come_to_the_version_of_a_whole_list_is_passed_by(
    server: ApiServer, api: Api
) -> None:
    """A whole list has the version of all kinds, a cache that of its own kind's last change."""
    pod(server, "web")
    error = {"type": "ERROR", "object": StatusError("Expired", "too old").status()}
    expired = StatusError("Expired", "too old")
    server.faults = [
        Fault("watch", times=2, event=error),
        Fault("list", error=expired, when=lambda call: call.query.get("resourceVersion") != "0"),
    ]
    server.create("v1", "configmaps", {"metadata": {"name": "other"}}, "default")
    async with hearing(watch(api, from_cache=True)) as heard:
        await heard.synced(3)
        asked = [query.get("resourceVersion") for query in lists(server)]
        assert asked == ["0", asked[1], None, str(server.store.revision), None]


async def test_a_server_restored_to_an_earlier_state_is_believed(
    server: ApiServer, api: Api
) -> None:
    pod(server, "web")
    pod(server, "lost")
    async with hearing(watch(api, from_cache=True)) as heard:
        await heard.named("web", "lost")
        await server.until_watched()
        await server.stop()
        server.delete("pods", "lost", "default")
        server.store.revision = 50
        server.store.compact()
        error = {"type": "ERROR", "object": StatusError("Expired", "too old").status()}
        server.faults = [Fault("watch", event=error)]
        await server.start()
        await heard.named("web")


async def test_a_server_put_back_that_counts_its_versions_again_is_listed_again(
    server: ApiServer, api: Api
) -> None:
    """Nothing tells the watch: a real server is silent until it comes to the version asked for."""
    pod(server, "web")
    pod(server, "lost")
    async with hearing(watch(api)) as heard:
        await heard.named("web", "lost")
        await server.until_watched()
        await server.stop()
        server.delete("pods", "lost", "default")
        server.store.revision = 50
        server.store.events.clear()
        await server.start()
        await heard.named("web")


async def test_a_server_put_back_that_has_counted_on_is_noticed_by_the_next_list_that_is_due(
    server: ApiServer, api: Api
) -> None:
    """By its version it is ahead: nothing but a list tells of what it lost."""
    pod(server, "web")
    pod(server, "lost")
    async with hearing(watch(api, list_every_s=0.0)) as heard:
        await heard.named("web", "lost")
        await server.until_watched()
        await server.stop()
        server.delete("pods", "lost", "default")
        server.store.events.clear()
        server.store.revision += 10
        await server.start()
        await heard.named("web")
        assert whole_lists(server) == 2


async def test_another_object_under_a_version_that_is_known_is_told(
    server: ApiServer, api: Api
) -> None:
    pod(server, "web")
    async with hearing(watch(api)) as heard:
        await heard.synced()
        await server.until_watched()
        await server.stop()
        server.store.revision -= 1
        server.change("pods", "web", "default", status={"phase": "Running"})
        server.store.compact()
        error = {"type": "ERROR", "object": StatusError("Expired", "too old").status()}
        server.faults = [Fault("watch", event=error)]
        await server.start()
        await heard.synced(2)
        assert heard.words()[-2:] == ["modified web", "synced"]


async def test_an_object_that_cannot_be_read_is_named_and_not_taken_for_deleted(
    server: ApiServer, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    def cron_job(name: str, **spec: Any) -> None:
        body = {"metadata": {"name": name}, "spec": {"jobTemplate": {"spec": spec}}}
        server.create("batch/v1", "cronjobs", body, "default")

    cron_job("good", completions=2)
    cron_job("turns", completions=3)
    with caplog.at_level(logging.ERROR):
        async with hearing(watch(api, CRON_JOBS)) as heard:
            await heard.named("good", "turns")
            await server.until_watched()
            wrong = {"jobTemplate": {"spec": {"completions": "many"}}}
            server.change("cronjobs", "turns", "default", spec=wrong)
            cron_job("early")
            await heard.named("good", "turns", "early")
            await server.stop()
            cron_job("late")
            cron_job("later")
            server.store.compact()
            await server.start()
            await heard.synced(2)
            await heard.named("good", "turns", "early", "late", "later")
            server.delete("cronjobs", "turns", "default")
            await heard.named("good", "early", "late", "later")
    assert "CronJob default/turns cannot be read" in caplog.text
    assert "completions" in caplog.text


async def test_a_reader_that_leaves_closes_the_connection(server: ApiServer, api: Api) -> None:
    async with hearing(watch(api)) as heard:
        await heard.synced()
        await server.until_watched(1)
    await server.until_watched(0)
    assert server.watches == 0


async def test_an_object_larger_than_any_buffer_is_read(server: ApiServer, api: Api) -> None:
    async with hearing(watch(api)) as heard:
        await heard.synced()
        large = {"note/last-applied": "x" * 3_000_000, "ipledger.io/static-ip": "10.0.0.9"}
        pod(server, "large", annotations=large)
        await heard.named("large")
        [found] = heard.objects.values()
        assert found.metadata.annotations == {"ipledger.io/static-ip": "10.0.0.9"}


def test_pauses_grow_to_a_limit_and_have_jitter() -> None:
    low = Pauses(lambda: 0.0, first_s=1, longest_s=8)
    high = Pauses(lambda: 1.0, first_s=1, longest_s=8)
    assert [low.next_s() for _ in range(5)] == [0.5, 1, 2, 4, 4]
    assert [high.next_s() for _ in range(5)] == [1, 2, 4, 8, 8]
    assert low.next_s(at_least_s=20) == 20
    low.reset()
    assert low.next_s() == 0.5
