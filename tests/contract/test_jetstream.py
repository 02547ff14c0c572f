"""What only the log on JetStream promises: its stream's settings, and certainty in spite of faults.

A fault is a real one: a connection cut on the way, a server killed with SIGKILL.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import cast

import nats
import nats.js.errors
import pytest
from nats.aio.client import Client as NatsClient
from nats.js.api import RetentionPolicy, StorageType, StoreCompression
from support.proxy import proxy_to

from ipledger.events.embedded import EmbeddedServer
from ipledger.events.jetstream import JetStreamLog, LogSettingsError
from ipledger.events.log import (
    Appended,
    BrokenLogError,
    Conflict,
    Entry,
    LogUnavailableError,
    NoLogError,
)

ACKNOWLEDGEMENT = b'"seq":'


@contextlib.asynccontextmanager
async def patient_client(url: str) -> AsyncGenerator[NatsClient]:
    """A client that goes on connecting for as long as it takes."""
    client = await nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.02)
    try:
        yield client
    finally:
        with contextlib.suppress(OSError):  # nats-py flushes a connection that is lost, too
            await client.close()


@contextlib.asynccontextmanager
async def supervised_server(data_dir: Path) -> AsyncGenerator[EmbeddedServer]:
    """A server of one's own to kill; it comes up again."""
    server = EmbeddedServer(data_dir)
    await server.start()
    supervision = asyncio.create_task(server.supervise())
    try:
        yield server
    finally:
        supervision.cancel()
        await asyncio.wait([supervision])
        await server.stop()


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are waited for less long, so that a lost one costs a test little."""
    monkeypatch.setattr("ipledger.events.jetstream._ANSWER_TIMEOUT_S", 0.5)
    monkeypatch.setattr("ipledger.events.jetstream._RETRY_MAX_S", 0.1)
    monkeypatch.setattr("ipledger.events.jetstream_reader._RETRY_S", 0.1)
    monkeypatch.setattr("ipledger.events.continuity._LOOK_DELAY_S", 0.1)
    monkeypatch.setattr("ipledger.events.jetstream_reader._FETCH_TIMEOUT_S", 0.5)


async def entries(log: JetStreamLog) -> list[Entry]:
    return [entry async for entry in log.read(0)]


async def test_the_stream_is_as_the_design_sets_it(nc: NatsClient, realm: str) -> None:
    log = await JetStreamLog.create(nc, realm)

    config = (await log.js.stream_info(f"IPLEDGER_{realm}")).config

    assert config.subjects == [f"ipledger.{realm}.log"]
    assert config.storage == StorageType.FILE
    assert config.compression == StoreCompression.S2
    assert config.retention == RetentionPolicy.LIMITS
    assert config.num_replicas == 1
    assert config.allow_direct
    assert (config.deny_delete, config.deny_purge) == (True, True)
    assert (config.max_msgs, config.max_bytes, config.max_age) == (-1, -1, 0)
    assert (config.max_msg_size, config.max_msgs_per_subject) == (-1, -1)


async def test_the_server_refuses_to_delete_or_purge(nc: NatsClient, realm: str) -> None:
    log = await JetStreamLog.create(nc, realm)
    await log.append(b"one", after=0)

    with pytest.raises(nats.js.errors.APIError, match="not permitted"):
        await log.js.delete_msg(f"IPLEDGER_{realm}", 1)
    with pytest.raises(nats.js.errors.APIError, match="not permitted"):
        await log.js.purge_stream(f"IPLEDGER_{realm}")

    assert await entries(log) == [Entry(1, b"one")]


async def test_creating_a_realm_twice_reaches_the_same_log(nc: NatsClient, realm: str) -> None:
    first = await JetStreamLog.create(nc, realm)
    await first.append(b"one", after=0)
    second = await JetStreamLog.create(nc, realm)
    assert await second.last() == 1


async def test_a_stream_that_exists_keeps_its_replicas(
    nc: NatsClient, realm: str, caplog: pytest.LogCaptureFixture
) -> None:
    await (await JetStreamLog.create(nc, realm)).append(b"one", after=0)
    again = await JetStreamLog.create(nc, realm, replicas=3)
    assert await again.last() == 1
    assert f"stream IPLEDGER_{realm} has 1 replicas, not the 3 asked for" in caplog.text


async def test_replicas_that_the_server_cannot_make_are_not_made_fewer(
    nc: NatsClient, realm: str
) -> None:
    with pytest.raises(LogUnavailableError, match="replicas > 1 not supported"):
        await JetStreamLog.create(nc, realm, replicas=3)
    with pytest.raises(LogUnavailableError, match="does not exist"):
        await JetStreamLog.open(nc, realm)


async def test_a_stream_from_which_entries_could_be_deleted_is_no_log(
    nc: NatsClient, realm: str
) -> None:
    await nc.jetstream().add_stream(
        name=f"IPLEDGER_{realm}", subjects=[f"ipledger.{realm}.log"], max_msgs=5
    )
    with pytest.raises(LogSettingsError, match=f"nats stream info IPLEDGER_{realm}"):
        await JetStreamLog.create(nc, realm)


async def test_opening_a_realm_that_does_not_exist_names_it(nc: NatsClient, realm: str) -> None:
    with pytest.raises(LogUnavailableError, match=f"no realm '{realm}'"):
        await JetStreamLog.open(nc, realm)


async def test_opening_a_realm_reaches_its_log(nc: NatsClient, realm: str) -> None:
    await (await JetStreamLog.create(nc, realm)).append(b"one", after=0)
    assert await entries(await JetStreamLog.open(nc, realm)) == [Entry(1, b"one")]


async def test_realms_do_not_see_each_other(nc: NatsClient, realm: str) -> None:
    here, there = [await JetStreamLog.create(nc, name) for name in (realm, f"{realm}-other")]
    await here.append(b"one", after=0)
    assert await there.last() == 0


async def test_the_trace_context_travels_in_the_message(nc: NatsClient, realm: str) -> None:
    log = await JetStreamLog.create(nc, realm)
    traceparent = "00-" + 32 * "a" + "-" + 16 * "b" + "-01"
    await log.append(b"one", after=0, traceparent=traceparent)
    stored = await log.js.get_msg(f"IPLEDGER_{realm}", 1)
    assert stored.headers is not None
    assert stored.headers["traceparent"] == traceparent
    assert [entry async for entry in log.read(0)] == [Entry(1, b"one", traceparent)]


@pytest.mark.parametrize("cut", [False, True], ids=["swallowed", "connection cut"])
async def test_an_append_whose_answer_is_lost_is_appended_once(
    nats_server: EmbeddedServer, realm: str, quick_retries: None, cut: bool
) -> None:
    async with proxy_to(nats_server.url) as proxy, patient_client(proxy.url) as client:
        log = await JetStreamLog.create(client, realm)
        assert await log.append(b"one", after=0) == Appended(1)
        proxy.lose_answer(ACKNOWLEDGEMENT, cut=cut)

        async with asyncio.timeout(60):
            assert await log.append(b"two", after=1) == Appended(2)

        assert proxy.lost.is_set()
        assert await entries(log) == [Entry(1, b"one"), Entry(2, b"two")]


@pytest.mark.parametrize("cut", [False, True], ids=["swallowed", "connection cut"])
async def test_an_append_overtaken_while_its_answer_was_lost_keeps_its_place(
    nats_server: EmbeddedServer, nc: NatsClient, realm: str, quick_retries: None, cut: bool
) -> None:
    rival = await JetStreamLog.create(nc, realm)
    async with proxy_to(nats_server.url) as proxy, patient_client(proxy.url) as client:
        log = await JetStreamLog.open(client, realm)
        proxy.lose_answer(ACKNOWLEDGEMENT, cut=cut)

        async with asyncio.timeout(60):
            append = asyncio.create_task(log.append(b"ours", after=0))
            await proxy.lost.wait()
            assert await rival.append(b"theirs", after=1) == Appended(2)
            assert await append == Appended(1)

    assert await entries(rival) == [Entry(1, b"ours"), Entry(2, b"theirs")]


async def test_a_conflict_whose_answer_is_lost_is_still_a_conflict(
    nats_server: EmbeddedServer, nc: NatsClient, realm: str, quick_retries: None
) -> None:
    rival = await JetStreamLog.create(nc, realm)
    await rival.append(b"theirs", after=0)
    async with proxy_to(nats_server.url) as proxy, patient_client(proxy.url) as client:
        log = await JetStreamLog.open(client, realm)
        proxy.lose_answer(b"wrong last sequence", cut=True)

        async with asyncio.timeout(60):
            assert await log.append(b"ours", after=0) == Conflict(1)

        assert proxy.lost.is_set()
    assert await entries(rival) == [Entry(1, b"theirs")]


async def test_appends_are_certain_though_the_server_is_killed_under_them(
    tmp_path: Path, realm: str, quick_retries: None
) -> None:
    payloads = [f"payload {n}".encode() for n in range(1, 601)]
    kills = {after: after // 50 for after in (100, 250, 400, 550)}
    async with (
        supervised_server(tmp_path) as server,
        patient_client(server.url) as client,
        asyncio.timeout(120),
    ):
        log = await JetStreamLog.create(client, realm)
        for after, payload in enumerate(payloads):
            append = asyncio.create_task(log.append(payload, after=after))
            if after in kills:
                for _ in range(kills[after]):  # turns of the loop: another moment each time
                    await asyncio.sleep(0)
                os.kill(server.pid, signal.SIGKILL)
            assert await append == Appended(after + 1)
        assert [entry.payload for entry in await entries(log)] == payloads


async def test_an_append_stored_by_a_server_that_died_before_it_answered_is_appended_once(
    tmp_path: Path, realm: str, quick_retries: None
) -> None:
    async with (
        supervised_server(tmp_path) as server,
        proxy_to(server.url) as proxy,
        patient_client(proxy.url) as client,
        asyncio.timeout(120),
    ):
        log = await JetStreamLog.create(client, realm)
        proxy.lose_answer(ACKNOWLEDGEMENT, cut=True)
        append = asyncio.create_task(log.append(b"one", after=0))
        await proxy.lost.wait()
        os.kill(server.pid, signal.SIGKILL)

        assert await append == Appended(1)
        assert await log.append(b"two", after=1) == Appended(2)
        assert await entries(log) == [Entry(1, b"one"), Entry(2, b"two")]


async def test_following_goes_on_behind_a_killed_server(
    tmp_path: Path, realm: str, quick_retries: None
) -> None:
    async with (
        supervised_server(tmp_path) as server,
        patient_client(server.url) as client,
        asyncio.timeout(120),
    ):
        log = await JetStreamLog.create(client, realm)
        await log.append(b"one", after=0)
        follower = cast("AsyncGenerator[Entry]", log.follow(0))
        assert await anext(follower) == Entry(1, b"one")
        os.kill(server.pid, signal.SIGKILL)
        assert await log.append(b"two", after=1) == Appended(2)
        assert await anext(follower) == Entry(2, b"two")
        await follower.aclose()


async def test_a_log_whose_server_is_gone_says_so(
    tmp_path: Path, realm: str, quick_retries: None
) -> None:
    server = EmbeddedServer(tmp_path)
    await server.start()
    async with patient_client(server.url) as client:
        log = await JetStreamLog.create(client, realm)
        await log.append(b"one", after=0)
        await server.stop()
        with pytest.raises(LogUnavailableError):
            await log.last()
        with pytest.raises(LogUnavailableError):
            await entries(log)
        with pytest.raises(LogUnavailableError):
            await JetStreamLog.open(client, realm)


async def test_following_a_stream_that_is_deleted_says_so(
    nc: NatsClient, realm: str, quick_retries: None
) -> None:
    log, follower = await followed(nc, realm)
    await log.js.delete_stream(f"IPLEDGER_{realm}")
    with pytest.raises(BrokenLogError, match=f"stream IPLEDGER_{realm} does not exist"):
        await anext(follower)


async def test_following_a_stream_that_is_made_anew_says_so(
    nc: NatsClient, realm: str, quick_retries: None
) -> None:
    log, follower = await followed(nc, realm)
    await log.js.delete_stream(f"IPLEDGER_{realm}")
    await JetStreamLog.create(nc, realm)
    with pytest.raises(BrokenLogError, match="commit 1: missing: the log ends at 0 now, not at 2"):
        await anext(follower)


async def test_following_a_stream_that_is_another_one_now_says_so(
    nc: NatsClient, realm: str, quick_retries: None
) -> None:
    log, follower = await followed(nc, realm)
    await log.js.delete_stream(f"IPLEDGER_{realm}")
    other = await JetStreamLog.create(nc, realm)
    for number in range(5):
        await other.append(b"other", after=number)
    with pytest.raises(BrokenLogError, match="commit 2: it has other bytes"):
        await anext(follower)


async def test_following_waits_for_a_stream_that_was_never_there(
    nc: NatsClient, realm: str, quick_retries: None
) -> None:
    follower = cast("AsyncGenerator[Entry]", JetStreamLog.of(nc, realm).follow(0))
    waiting = asyncio.ensure_future(anext(follower))
    await (await JetStreamLog.create(nc, realm)).append(b"one", after=0)
    async with asyncio.timeout(30):
        assert await waiting == Entry(1, b"one")
    await follower.aclose()


async def test_a_stream_that_is_gone_is_no_log(nc: NatsClient, realm: str) -> None:
    log = JetStreamLog.of(nc, realm)
    for question in (log.last(), log.get(1), anext(log.read(0))):
        with pytest.raises(NoLogError):
            await question


async def followed(nc: NatsClient, realm: str) -> tuple[JetStreamLog, AsyncGenerator[Entry]]:
    """A log of two entries, and one who has read them and waits for more."""
    log = await JetStreamLog.create(nc, realm)
    follower = cast("AsyncGenerator[Entry]", log.follow(0))
    for number in range(2):
        await log.append(b"x", after=number)
        await anext(follower)
    return log, follower


@pytest.mark.parametrize("cut", [False, True], ids=["swallowed", "connection cut"])
async def test_an_entry_lost_on_its_way_to_a_follower_is_read_again(
    nats_server: EmbeddedServer,
    nc: NatsClient,
    realm: str,
    quick_retries: None,
    monkeypatch: pytest.MonkeyPatch,
    cut: bool,
) -> None:
    monkeypatch.setattr("ipledger.events.jetstream_reader._FETCH_TIMEOUT_S", 0.5)
    writer = await JetStreamLog.create(nc, realm)
    await writer.append(b"one", after=0)
    async with (
        proxy_to(nats_server.url) as proxy,
        patient_client(proxy.url) as client,
        asyncio.timeout(60),
    ):
        log = await JetStreamLog.open(client, realm)
        follower = cast("AsyncGenerator[Entry]", log.follow(0))
        assert await anext(follower) == Entry(1, b"one")
        proxy.lose_answer(b"entry two", cut=cut)
        following = asyncio.ensure_future(anext(follower))
        await writer.append(b"entry two", after=1)
        await proxy.lost.wait()
        await writer.append(b"three", after=2)
        assert await following == Entry(2, b"entry two")
        assert await anext(follower) == Entry(3, b"three")
        await follower.aclose()


@pytest.mark.parametrize("cut", [False, True], ids=["swallowed", "connection cut"])
async def test_the_last_entry_lost_on_its_way_to_a_follower_is_read_again(
    nats_server: EmbeddedServer,
    nc: NatsClient,
    realm: str,
    quick_retries: None,
    monkeypatch: pytest.MonkeyPatch,
    cut: bool,
) -> None:
    monkeypatch.setattr("ipledger.events.jetstream_reader._FETCH_TIMEOUT_S", 0.5)
    writer = await JetStreamLog.create(nc, realm)
    await writer.append(b"one", after=0)
    async with (
        proxy_to(nats_server.url) as proxy,
        patient_client(proxy.url) as client,
        asyncio.timeout(60),
    ):
        log = await JetStreamLog.open(client, realm)
        follower = cast("AsyncGenerator[Entry]", log.follow(0))
        assert await anext(follower) == Entry(1, b"one")
        proxy.lose_answer(b"the last entry", cut=cut)
        following = asyncio.ensure_future(anext(follower))
        await writer.append(b"the last entry", after=1)
        assert await following == Entry(2, b"the last entry")
        assert proxy.lost.is_set()
        await follower.aclose()


async def test_a_follower_to_whom_nothing_comes_asks_nothing_anew(
    nc: NatsClient, realm: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ipledger.events.jetstream_reader._FETCH_TIMEOUT_S", 0.2)
    log = await JetStreamLog.create(nc, realm)
    for n in range(3):
        await log.append(b"old", after=n)
    follower = cast("AsyncGenerator[Entry]", log.follow(2))
    assert await anext(follower) == Entry(3, b"old")
    following = asyncio.ensure_future(anext(follower))
    await asyncio.wait((following,), timeout=1.0)  # several rounds of silence
    await log.append(b"new", after=3)
    assert await following == Entry(4, b"new")
    await follower.aclose()
    assert "interrupted" not in caplog.text
