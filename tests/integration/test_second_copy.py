"""The second copy follows the stream, and no engine serves a stream that contradicts it.

A real nats-server and a real engine; a stream is lost by deleting it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client as NatsClient
from support.chains import chain
from support.memory_bus import MemoryBus, MemoryNet
from support.program import until

from ipledger.engine.answers import Applied, TryAgain
from ipledger.engine.commands import ApplyPool
from ipledger.engine.commit_loop import Request
from ipledger.engine.engine import Engine
from ipledger.engine.second_copy import SecondCopy, open_stream
from ipledger.events.facts import PoolSpec
from ipledger.events.jetstream import JetStreamLog
from ipledger.events.ledger import Ledger
from ipledger.events.log import Appended, BrokenLogError, Entry, Log
from ipledger.events.memory import MemoryLog

DEADLINE_S = 60
COMMITS = chain(6)
OTHERS = chain(8, "other")


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipledger.events.jetstream._RETRY_MAX_S", 0.1)
    monkeypatch.setattr("ipledger.events.jetstream_reader._RETRY_S", 0.1)
    monkeypatch.setattr("ipledger.events.jetstream_reader._FETCH_TIMEOUT_S", 0.5)
    monkeypatch.setattr("ipledger.events.continuity._LOOK_DELAY_S", 0.1)
    monkeypatch.setattr("ipledger.engine.second_copy._RETRY_S", 0.1)
    monkeypatch.setattr("ipledger.engine.second_copy._LOOK_DELAY_S", 0.1)


@pytest.fixture
async def ledger(tmp_path: Path, realm: str) -> AsyncGenerator[Ledger]:
    ledger = await Ledger.open(tmp_path / "ledger.db", realm)
    yield ledger
    await ledger.close()


async def entries(ledger: Ledger) -> list[Entry]:
    return [entry async for entry in ledger.read(0)]


async def fill(log: Log, commits: list[Entry]) -> None:
    for entry in commits:
        outcome = await log.append(entry.payload, after=entry.sequence - 1)
        assert outcome == Appended(entry.sequence)


async def reached(ledger: Ledger, sequence: int) -> None:
    await asyncio.to_thread(until, lambda: ledger.head.sequence >= sequence, DEADLINE_S)


@contextlib.asynccontextmanager
async def copying(ledger: Ledger, log: Log) -> AsyncGenerator[asyncio.Task[None]]:
    copy = SecondCopy(ledger)
    await copy.check(log)
    task = asyncio.create_task(copy.run(log))
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def leading(
    nc: NatsClient, realm: str, ledger: Ledger
) -> AsyncGenerator[tuple[Engine, asyncio.Task[None]]]:
    """An engine that leads, with a ledger that has its first commit."""
    log = await open_stream(nc, ledger, 1)
    engine = Engine(log, nc, realm, "engine-1", alone=True, second_copy=SecondCopy(ledger))
    running = asyncio.create_task(engine.run())
    await engine.ready.wait()
    await reached(ledger, 1)
    yield engine, running
    engine.stop()
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.gather(running, return_exceptions=True)


async def ask(engine: Engine, name: str) -> Any:
    answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    async def reply(given: object) -> None:
        answer.set_result(given)

    pool = PoolSpec(name, 4, "10.6.0.0/16", ("10.6.0.1",))
    assert engine.submit(Request(ApplyPool(pool=pool), reply))
    async with asyncio.timeout(DEADLINE_S):
        return await answer


async def test_it_copies_what_is_there_and_what_comes(
    nc: NatsClient, realm: str, ledger: Ledger
) -> None:
    log = await JetStreamLog.create(nc, realm)
    await fill(log, COMMITS[:3])
    async with copying(ledger, log):
        await reached(ledger, 3)
        await fill(log, COMMITS[3:])
        await reached(ledger, 6)
    assert await entries(ledger) == COMMITS


async def test_it_catches_up_after_an_absence(nc: NatsClient, realm: str, ledger: Ledger) -> None:
    log = await JetStreamLog.create(nc, realm)
    await ledger.append(COMMITS[:2])
    await fill(log, COMMITS)
    async with copying(ledger, log):
        await reached(ledger, 6)
    assert await entries(ledger) == COMMITS


async def test_it_goes_on_by_itself_when_there_is_room_again(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    log = MemoryLog()
    await fill(log, COMMITS[:2])
    used = await (await ledger.db.execute("PRAGMA page_count")).fetchone()
    assert used is not None
    await ledger.db.execute(f"PRAGMA max_page_count = {used[0]}")
    large = await grown(log, 5)
    async with copying(ledger, log):
        await log.append(large, after=await log.last())
        await asyncio.to_thread(until, lambda: "cannot be written" in caplog.text, DEADLINE_S)
        await ledger.db.execute("PRAGMA max_page_count = 1000000")
        await reached(ledger, await log.last())
    assert [entry.payload for entry in await entries(ledger)] == log.payloads


async def grown(log: MemoryLog, count: int) -> bytes:
    """Fill a log with commits of many pages, and return one more."""
    longer = chain(3 + count, "e" * 100_000)
    log.payloads[:] = [entry.payload for entry in longer[:-1]]
    return longer[-1].payload


@pytest.mark.parametrize(
    ("stored", "what"),
    [
        (OTHERS[:6], "commit 4: its hash is"),
        (OTHERS[:3], "commit 4: missing: the log ends at 3, but ledger"),
        ([], "commit 1: missing: the log ends at 0, but ledger"),
        (COMMITS[:3], "commit 4: missing: the log ends at 3, but ledger"),
    ],
)
async def test_a_log_that_is_not_the_ledgers_is_found_before_anybody_leads(
    ledger: Ledger, stored: list[Entry], what: str
) -> None:
    await ledger.append(COMMITS[:4])
    log = MemoryLog()
    await fill(log, stored)
    engine = Engine(
        log, MemoryBus(MemoryNet()), ledger.realm, "engine-1", second_copy=SecondCopy(ledger)
    )

    with pytest.raises(BrokenLogError, match=what):
        await engine.run()

    assert log.payloads == [entry.payload for entry in stored], "nobody led"


async def test_a_commit_that_does_not_continue_the_ledger_is_found(ledger: Ledger) -> None:
    await ledger.append(COMMITS[:3])
    log = MemoryLog()
    await fill(log, [*COMMITS[:3], Entry(4, OTHERS[3].payload)])
    copy = SecondCopy(ledger)
    await copy.check(log)
    with pytest.raises(BrokenLogError, match="commit 4: prev is"):
        await copy.run(log)
    assert await entries(ledger) == COMMITS[:3]


async def test_a_stream_that_is_gone_is_never_made_anew(
    nc: NatsClient, realm: str, ledger: Ledger
) -> None:
    await ledger.append(COMMITS)
    with pytest.raises(BrokenLogError, match=f"commit 1: missing: no realm '{realm}'"):
        await open_stream(nc, ledger, 1)
    assert await stream_exists(nc, realm) is False


async def stream_exists(nc: NatsClient, realm: str) -> bool:
    return f"IPLEDGER_{realm}" in [i.config.name for i in await nc.jetstream().streams_info()]


async def test_an_engine_keeps_its_ledger_while_it_serves(
    nc: NatsClient, realm: str, ledger: Ledger
) -> None:
    async with leading(nc, realm, ledger) as (engine, _):
        assert await ask(engine, "a") == Applied("2.0", "created")
        await reached(ledger, 2)
    log = JetStreamLog.of(nc, realm)
    assert await entries(ledger) == [entry async for entry in log.read(0)]


async def test_an_engine_whose_stream_is_deleted_stops_serving(
    nc: NatsClient, realm: str, ledger: Ledger
) -> None:
    async with leading(nc, realm, ledger) as (engine, running):
        await nc.jetstream().delete_stream(f"IPLEDGER_{realm}")
        assert isinstance(await ask(engine, "a"), TryAgain)
        with pytest.raises(BrokenLogError, match=f"stream IPLEDGER_{realm} does not exist"):
            await running


async def test_an_engine_whose_stream_is_made_anew_stops_serving_and_never_leads_it(
    nc: NatsClient, realm: str, ledger: Ledger
) -> None:
    async with leading(nc, realm, ledger) as (engine, running):
        await nc.jetstream().delete_stream(f"IPLEDGER_{realm}")
        anew = await JetStreamLog.create(nc, realm)
        assert isinstance(await ask(engine, "a"), TryAgain)
        with pytest.raises(BrokenLogError, match="commit 1: missing: the log ends at 0"):
            await running
        assert await anew.last() == 0
