"""Restoring a stream from a ledger on a real server: identical, resumable, closed to engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from nats.aio.client import Client as NatsClient
from support.chains import chain

from ipledger.engine.engine import Engine
from ipledger.engine.service import EngineService
from ipledger.events import names
from ipledger.events.jetstream import JetStreamLog, stream_config
from ipledger.events.ledger import Ledger
from ipledger.events.log import Appended, Entry, LogUnavailableError, NoLogError
from ipledger.events.restoring import RestoringStream
from ipledger.replay.restore import DamagedError, Restore, RestoreError
from ipledger.replay.verify import compare

COMMITS = chain(700)
OTHERS = chain(700, "other")


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipledger.events.continuity._LOOK_DELAY_S", 0.05)


@pytest.fixture
async def ledger(tmp_path: Path, realm: str) -> AsyncGenerator[Ledger]:
    ledger = await Ledger.open(tmp_path / "ledger.db", realm)
    await ledger.append(COMMITS[:600])
    yield ledger
    await ledger.close()


async def stored(nc: NatsClient, realm: str, commits: list[Entry]) -> JetStreamLog:
    """A stream with these commits."""
    log = await JetStreamLog.create(nc, realm)
    for entry in commits:
        assert await log.append(entry.payload, after=entry.sequence - 1) == Appended(entry.sequence)
    return log


async def entries(nc: NatsClient, realm: str) -> list[Entry]:
    return [entry async for entry in JetStreamLog.of(nc, realm).read(0)]


async def subjects(nc: NatsClient, realm: str) -> list[str] | None:
    return (await JetStreamLog.of(nc, realm).info()).config.subjects


async def test_a_stream_that_is_gone_is_made_anew_and_can_be_appended_to(
    nc: NatsClient, realm: str, ledger: Ledger
) -> None:
    restored = await Restore(nc, ledger).run()

    assert (restored.action, restored.good, restored.published) == ("create", 0, 600)
    assert await entries(nc, realm) == COMMITS[:600]
    log = await JetStreamLog.open(nc, realm)
    assert await log.append(COMMITS[600].payload, after=600) == Appended(601)
    config = (await log.info()).config
    wanted = stream_config(realm)
    for setting in ("subjects", "subject_transform", "storage", "compression", "deny_delete"):
        assert getattr(config, setting) == getattr(wanted, setting), setting


@pytest.mark.parametrize("count", [0, 1, 599])
async def test_a_stream_that_is_too_short_is_continued(
    nc: NatsClient, realm: str, ledger: Ledger, count: int
) -> None:
    await stored(nc, realm, COMMITS[:count])

    restored = await Restore(nc, ledger).run()

    assert (restored.action, restored.good) == ("append", count)
    assert restored.published == 600 - count
    assert await entries(nc, realm) == COMMITS[:600]
    assert await subjects(nc, realm) == [names.log_subject(realm)]


@pytest.mark.parametrize("count", [600, 700])
async def test_a_good_stream_is_left_alone(
    nc: NatsClient, realm: str, ledger: Ledger, count: int
) -> None:
    await stored(nc, realm, COMMITS[:count])

    restored = await Restore(nc, ledger).run(replace=True)

    assert (restored.action, restored.commits, restored.published) == ("nothing", count, 0)
    assert await entries(nc, realm) == COMMITS[:count]


DAMAGED = {
    "another history": (OTHERS[:650], 1, 600),
    "a changed commit": (
        [*COMMITS[:9], Entry(10, COMMITS[9].payload + b" "), *COMMITS[10:620]],
        10,
        620,
    ),
    "a bad commit behind the ledger's last": (
        [*COMMITS[:610], Entry(611, OTHERS[610].payload), *COMMITS[611:]],
        611,
        610,
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
async def test_a_damaged_stream_is_left_alone_until_it_is_to_be_replaced(
    nc: NatsClient, realm: str, ledger: Ledger, case: str
) -> None:
    commits, bad, _ = DAMAGED[case]
    await stored(nc, realm, commits)

    planned = await Restore(nc, ledger).run(dry_run=True)
    with pytest.raises(DamagedError, match=f"the stream is damaged: commit {bad}: .*--replace"):
        await Restore(nc, ledger).run()

    assert (planned.action, planned.good) == ("replace", bad - 1)
    assert planned.problem.startswith(f"commit {bad}: ")
    assert await entries(nc, realm) == commits
    assert await subjects(nc, realm) == [names.log_subject(realm)]


@pytest.mark.parametrize("case", DAMAGED)
async def test_a_replaced_stream_has_the_ledgers_commits_and_what_continues_them(
    nc: NatsClient, realm: str, ledger: Ledger, case: str
) -> None:
    commits, _, kept = DAMAGED[case]
    await stored(nc, realm, commits)

    restored = await Restore(nc, ledger).run(replace=True)

    assert (restored.action, restored.commits, restored.published) == ("replace", kept, kept)
    assert await entries(nc, realm) == COMMITS[:kept]
    old = await Ledger.reading(Path(restored.saved))
    assert [entry async for entry in old.read(0)] == commits
    await old.close()
    again = await Ledger.reading(ledger.path)
    assert await again.last() == kept, "what only the stream had is in the ledger before it is gone"
    report = await compare(JetStreamLog.of(nc, realm), again)
    assert report.ok, report.reason
    await again.close()


async def test_what_is_saved_never_overwrites_what_was_saved_before(
    nc: NatsClient, realm: str, ledger: Ledger
) -> None:
    saved: set[str] = set()
    for _ in range(3):
        await stored(nc, realm, OTHERS[:2])
        saved.add((await Restore(nc, ledger).run(replace=True)).saved)
        await nc.jetstream().delete_stream(names.stream(realm))
    assert len(saved) == 3


async def test_a_restore_that_was_interrupted_keeps_engines_out_and_goes_on(
    nc: NatsClient, realm: str, ledger: Ledger
) -> None:
    """It died between two commits: the stream is closed and has a part of them."""
    stream = RestoringStream(JetStreamLog.of(nc, realm))
    await stream.close(1)

    async def part() -> AsyncGenerator[Entry]:
        for entry in COMMITS[:300]:
            yield entry

    await stream.publish(part(), lambda sequence: None)

    for reach in (JetStreamLog.open, JetStreamLog.create):
        with pytest.raises(LogUnavailableError, match="is being restored"):
            await reach(nc, realm)
    restored = await Restore(nc, ledger).run()
    assert (restored.action, restored.good, restored.published) == ("append", 300, 300)
    assert await entries(nc, realm) == COMMITS[:600]
    assert await subjects(nc, realm) == [names.log_subject(realm)]


async def test_a_restore_that_died_just_before_its_end_is_ended(
    nc: NatsClient, realm: str, ledger: Ledger
) -> None:
    await stored(nc, realm, COMMITS[:600])
    await RestoringStream(JetStreamLog.of(nc, realm)).close(1)

    assert (await Restore(nc, ledger).run()).action == "nothing"

    assert await subjects(nc, realm) == [names.log_subject(realm)]


async def test_an_engine_that_was_overlooked_cannot_append_meanwhile(
    nc: NatsClient, realm: str
) -> None:
    log = await stored(nc, realm, COMMITS[:3])
    stream = RestoringStream(log)
    await stream.close(1)

    append = asyncio.create_task(log.append(COMMITS[3].payload, after=3))
    _, waiting = await asyncio.wait([append], timeout=0.3)

    assert waiting, "it waits as for a stream without a leader"
    assert await log.last() == 3
    await stream.open()
    assert await append == Appended(4)


async def test_a_running_engine_is_named_and_nothing_is_changed(
    nc: NatsClient, realm: str, ledger: Ledger
) -> None:
    log = await JetStreamLog.create(nc, realm)
    engine = Engine(log, nc, realm, "engine-1", alone=True)
    service = EngineService(nc, engine)
    await service.start()
    running = asyncio.create_task(engine.run())
    await engine.ready.wait()

    with pytest.raises(RestoreError, match=f"an engine of realm '{realm}' is running"):
        await Restore(nc, ledger).run(replace=True)

    assert await log.last() == 1
    await service.stop()
    engine.stop()
    await running


async def test_a_ledger_that_does_not_verify_restores_nothing(
    nc: NatsClient, realm: str, ledger: Ledger
) -> None:
    await ledger.db.execute("DELETE FROM commits WHERE sequence = 5")
    await ledger.db.commit()
    with pytest.raises(DamagedError, match=r"does not verify: 5\.0: missing: the log goes on at 6"):
        await Restore(nc, ledger).run()
    with pytest.raises(NoLogError):
        await JetStreamLog.open(nc, realm)


async def test_an_empty_ledger_restores_nothing(nc: NatsClient, realm: str, tmp_path: Path) -> None:
    empty = await Ledger.open(tmp_path / "empty.db", realm)
    with pytest.raises(RestoreError, match="has no commits"):
        await Restore(nc, empty).run()
    await empty.close()
