"""Taking snapshots while an engine serves: of durable commits only, often enough, and harmless."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from support.desk import Desk, serving
from support.gated_log import GatedLog
from support.snapshots import REALM
from support.text import command

from ipledger.engine.commit_loop import DeposedError
from ipledger.engine.snapshot_store import MemorySnapshots, SnapshotsUnavailableError
from ipledger.engine.snapshots import KEPT, Snapshots, load
from ipledger.projections.fold import Fold

POOL = command("pool a 10.0.0.0/24 ips=10.0.0.1-10.0.0.200 default")


class Watched(MemorySnapshots):
    """A store that tells when a snapshot has come."""

    def __init__(self) -> None:
        super().__init__()
        self.came: asyncio.Queue[int] = asyncio.Queue()

    async def put(self, sequence: int, parts: AsyncIterator[bytes]) -> None:
        await super().put(sequence, parts)
        self.came.put_nowait(sequence)


class Failing(Watched):
    """A store that takes nothing."""

    async def put(self, sequence: int, parts: AsyncIterator[bytes]) -> None:
        self.came.put_nowait(sequence)
        raise SnapshotsUnavailableError("it is full")


async def loaded(desk: Desk, store: MemorySnapshots) -> Fold:
    return await load(desk.log, Snapshots(store, REALM))


async def test_a_snapshot_is_taken_once_enough_events_came() -> None:
    desk, store = Desk(), Watched()
    snapshots = Snapshots(store, REALM, events=5, check_s=0)
    async with serving(desk), snapshots.taking(desk.loop, desk.fold):
        await desk.ask(POOL)
        for number in range(20):
            await desk.ask(command(f"ADD p{number}"))
        first, second = [await asyncio.wait_for(store.came.get(), 30) for _ in range(2)]
    assert second - first >= 5, "one event a commit"
    assert snapshots.outcomes.saved >= 1
    assert snapshots.outcomes.newest in store.kept


async def test_no_snapshot_is_taken_of_little() -> None:
    desk, store = Desk(), Watched()
    snapshots = Snapshots(store, REALM, events=1000, check_s=0)
    async with serving(desk), snapshots.taking(desk.loop, desk.fold):
        await desk.ask(POOL)
        for _ in range(100):
            await asyncio.sleep(0)
        assert store.kept == {}


async def test_what_is_not_durable_yet_is_in_no_snapshot() -> None:
    log = GatedLog()
    desk = Desk(log)
    async with serving(desk):
        await desk.ask(POOL)
        log.gate.clear()
        log.arrived.clear()
        pending = desk.submit(command("ADD p1"))
        await asyncio.wait_for(log.arrived.wait(), 30)
        assert len(desk.fold.state.allocations) == 1, "the state is speculative"
        looking = asyncio.create_task(desk.loop.between_commits(lambda fold: fold.sequence))
        log.gate.set()
        assert await asyncio.wait_for(looking, 30) == 3
        assert pending is not None
        await pending


async def test_an_end_that_is_no_fault_leaves_a_snapshot_of_the_end() -> None:
    desk, store = Desk(), MemorySnapshots()
    snapshots = Snapshots(store, REALM)
    await desk.loop.take_leadership("engine-1", "0")
    async with snapshots.taking(desk.loop, desk.fold):
        running = asyncio.create_task(desk.loop.run())
        await desk.ask(POOL)
        desk.loop.stop()
        await running
    assert list(store.kept) == [desk.fold.sequence]
    assert (await loaded(desk, store)).restored_events == desk.fold.state.events_ever


async def test_a_term_that_only_took_the_lead_leaves_none() -> None:
    desk, store = Desk(), MemorySnapshots()
    await desk.loop.take_leadership("engine-1", "0")
    async with Snapshots(store, REALM).taking(desk.loop, desk.fold):
        pass
    assert store.kept == {}


async def test_a_deposed_engine_leaves_none() -> None:
    """Its state may hold what never became durable."""
    desk, store = Desk(), MemorySnapshots()
    await desk.loop.take_leadership("engine-1", "0")
    await desk.log.append(b"of another", after=1)
    desk.submit(POOL)
    with pytest.raises(DeposedError):
        await _term(desk, Snapshots(store, REALM))
    assert store.kept == {}


async def _term(desk: Desk, snapshots: Snapshots) -> None:
    async with snapshots.taking(desk.loop, desk.fold):
        await desk.loop.run()


async def test_the_newest_snapshots_are_kept() -> None:
    desk, store = Desk(), MemorySnapshots()
    snapshots = Snapshots(store, REALM)
    async with serving(desk):
        await desk.ask(POOL)
        for number in range(KEPT + 2):
            await desk.ask(command(f"ADD p{number}"))
            await snapshots.save(snapshots.take(desk.fold))
    assert len(store.kept) == KEPT
    assert max(store.kept) == desk.fold.sequence


async def test_a_store_that_takes_nothing_is_told_of_and_harms_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk, store = Desk(), Failing()
    snapshots = Snapshots(store, REALM, events=2, check_s=0)
    async with serving(desk), snapshots.taking(desk.loop, desk.fold):
        await desk.ask(POOL)
        for number in range(10):
            await desk.ask(command(f"ADD p{number}"))
        for _ in range(2):
            await asyncio.wait_for(store.came.get(), 30)
    assert snapshots.outcomes.failed >= 1
    assert "no snapshot of realm realm: SnapshotsUnavailableError('it is full')" in caplog.text
