"""The outbox sends what the engine could not take, and goes on after trouble with its store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest
from support.memory_store import MemoryStore
from support.virtual_time import in_virtual_time

from ipledger.cni.metrics import OutboxMetrics
from ipledger.cni.outbox import Outbox, StoreError
from ipledger.engine.answers import Released
from ipledger.engine.client import EngineClient, EngineUnavailableError, RefusedError
from ipledger.engine.commands import Release
from ipledger.engine.refusals import Reason, Refusal

RELEASE = Release(sandbox="s1", interface="eth0", node="n1")
OTHER = Release(sandbox="s2", interface="eth0", node="n1")


class Taking(EngineClient):
    """An engine that takes releases, after it has failed as often as it was told to."""

    def __init__(self, *failures: Exception) -> None:
        self.taken: asyncio.Queue[Release] = asyncio.Queue()
        self.failures = list(failures)

    async def release(self, command: Release, timeout_s: float | None = None) -> Released:
        if self.failures:
            raise self.failures.pop(0)
        self.taken.put_nowait(command)
        return Released("1.0")


class FullDisk(MemoryStore):
    """A store that cannot be written while `full`."""

    full = False

    async def delete(self, stored_id: int) -> None:
        if self.full:
            raise StoreError("disk full")
        await super().delete(stored_id)


@contextlib.asynccontextmanager
async def sending(outbox: Outbox, engine: EngineClient) -> AsyncGenerator[None]:
    task = asyncio.create_task(outbox.send(engine))
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@in_virtual_time
async def test_what_is_stored_is_sent_now_and_later() -> None:
    outbox, engine = Outbox(MemoryStore(), "n1"), Taking()
    await outbox.put(RELEASE)
    async with sending(outbox, engine):
        assert await engine.taken.get() == RELEASE
        await outbox.put(OTHER)
        assert await engine.taken.get() == OTHER
    assert await outbox.store.pending() == []
    assert (outbox.sent, outbox.dropped) == (2, 0)


@in_virtual_time
async def test_what_waits_is_shown_as_a_metric() -> None:
    outbox = Outbox(MemoryStore(), "n1")
    metrics = OutboxMetrics(outbox)
    for release in (RELEASE, RELEASE, OTHER):
        await outbox.put(release)
    await metrics.refresh()
    shown = {sample.name: sample.value for f in metrics.collect() for sample in f.samples}
    assert shown["ipledger_agent_outbox_releases"] == 2


@in_virtual_time
async def test_a_release_is_sent_until_the_engine_takes_it() -> None:
    outbox = Outbox(MemoryStore(), "n1")
    engine = Taking(EngineUnavailableError("away"), EngineUnavailableError("away"))
    await outbox.put(RELEASE)
    async with sending(outbox, engine):
        assert await engine.taken.get() == RELEASE
    assert await outbox.store.pending() == []


@in_virtual_time
async def test_a_release_that_is_refused_does_not_hold_up_the_next() -> None:
    outbox = Outbox(MemoryStore(), "n1")
    engine = Taking(RefusedError(Refusal(Reason.OTHER_NODE, "not yours")))
    await outbox.put(RELEASE)
    await outbox.put(OTHER)
    async with sending(outbox, engine):
        assert await engine.taken.get() == OTHER
    assert await outbox.store.pending() == []
    assert (outbox.sent, outbox.dropped) == (1, 1)


@in_virtual_time
async def test_sending_goes_on_when_the_store_could_not_be_written() -> None:
    store, engine = FullDisk(), Taking()
    outbox = Outbox(store, "n1")
    await outbox.put(RELEASE)
    store.full = True
    async with sending(outbox, engine):
        for _ in range(2):  # taken, not struck off the list, and so sent again
            assert await engine.taken.get() == RELEASE
        store.full = False
        assert await engine.taken.get() == RELEASE
        await outbox.put(OTHER)
        assert await engine.taken.get() == OTHER
    assert await store.pending() == []


async def test_a_full_outbox_keeps_no_more_until_something_was_sent() -> None:
    outbox = Outbox(MemoryStore(), "n1", kept_max=1)
    await outbox.put(RELEASE)
    with pytest.raises(StoreError, match="1 releases wait"):
        await outbox.put(OTHER)
    [stored] = await outbox.store.pending()
    await outbox.store.delete(stored.id)
    await outbox.put(OTHER)
