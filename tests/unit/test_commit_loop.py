"""The commit loop: group commit, backpressure, fencing, and answers only for what is durable."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from support.desk import NOON, SECOND, Desk, replay, serving
from support.gated_log import GatedLog
from support.text import command

from ipledger.engine.answers import Allocated, Applied, Refused, TryAgain
from ipledger.engine.commit_loop import DeposedError
from ipledger.engine.refusals import Reason
from ipledger.events import commit
from ipledger.events.clock import format_time, parse_time
from ipledger.events.memory import MemoryLog
from ipledger.events.types import AddressesAllocated, LeadershipTaken
from ipledger.projections.state import State

POOL = "pool a 10.1.0.0/24 ips=10.1.0.1-10.1.0.200 default"


def allocations(state: State) -> int:
    return len(state.allocations)


@contextlib.asynccontextmanager
async def in_flight(desk: Desk, log: GatedLog, *texts: str) -> AsyncGenerator[list[Any]]:
    """A pool is there and an ADD's append waits at the gate; the texts were asked meanwhile."""
    await desk.ask(command(POOL))
    log.gate.clear()
    log.arrived.clear()
    answers = [desk.submit(command("ADD first"))]
    await log.arrived.wait()
    answers += [desk.submit(command(text)) for text in texts]
    yield answers
    log.gate.set()


async def test_the_first_commit_of_a_term_takes_leadership() -> None:
    async with serving(Desk()) as desk:
        assert desk.events() == [LeadershipTaken(epoch=1, engine="engine-1", version="0")]
        assert commit.decode(desk.log.payloads[0]).epoch == 1


async def test_the_next_term_has_the_next_epoch() -> None:
    log = MemoryLog()
    async with serving(Desk(log)):
        pass
    second = Desk(log)
    second.fold.state = replay(log.payloads)
    second.fold.advance(1, commit.digest(log.payloads[0]), NOON)
    async with serving(second) as desk:
        assert desk.fold.state.epoch == 2
        assert commit.decode(log.payloads[1]).epoch == 2


async def test_commands_that_came_while_a_commit_was_in_flight_leave_as_one_commit() -> None:
    log = GatedLog()
    async with serving(Desk(log)) as desk:
        async with in_flight(desk, log, *(f"ADD p{n}" for n in range(100))) as asked:
            assert desk.loop.waiting == 100
            assert not any(answer.done() for answer in asked)
            assert len(log.payloads) == 2
        answers = await asyncio.gather(*asked)

        assert len(log.payloads) == 4
        assert len(commit.decode(log.payloads[3]).events) == 100
        addresses = {answer.allocation.addresses[0].address for answer in answers}
        assert len(addresses) == 101
        assert [answer.position for answer in answers[1:]] == [f"4.{n}" for n in range(100)]


async def test_each_command_of_a_batch_sees_what_the_ones_before_it_did() -> None:
    log = GatedLog()
    texts = ["ADD p1", "ADD p1", "DEL p1-sandbox", "ADD p1", "ADD p1 sandbox=s2"]
    async with serving(Desk(log)) as desk:
        async with in_flight(desk, log, *texts) as asked:
            pass
        _, first, again, deleted, late, anew = await asyncio.gather(*asked)

    assert first.allocation == again.allocation
    assert deleted.allocation == first.allocation.id
    assert late.refusal.reason == Reason.ATTACHMENT_ENDED
    assert anew.allocation.addresses == first.allocation.addresses


async def test_no_answer_leaves_before_its_commit_is_acknowledged() -> None:
    log = GatedLog()
    async with serving(Desk(log)) as desk:
        async with in_flight(desk, log) as [answer]:
            for _ in range(100):
                await asyncio.sleep(0)
            assert not answer.done()
        assert isinstance(await answer, Allocated)


async def test_a_read_behind_a_write_is_answered_when_the_write_is_durable() -> None:
    log = GatedLog()
    async with serving(Desk(log)) as desk:
        async with in_flight(desk, log, "ADD p1") as asked:
            read = desk.submit(allocations)
            log.arrived.clear()
            log.one_by_one = True
            log.gate.set()
            await log.arrived.wait()
            assert asked[0].done()
            for _ in range(100):
                await asyncio.sleep(0)
            assert read is not None
            assert not read.done()
            assert len(log.payloads) == 3
            log.one_by_one = False
        assert await read == 2


async def test_a_read_before_a_write_does_not_see_it() -> None:
    log = GatedLog()
    async with serving(Desk(log)) as desk:
        async with in_flight(desk, log) as asked:
            read, write = desk.submit(allocations), desk.submit(command("ADD p1"))
        assert read is not None
        assert write is not None
        assert await read == 1
        await asyncio.gather(write, *asked)


async def test_reads_alone_write_nothing() -> None:
    async with serving(Desk()) as desk:
        assert await desk.ask(allocations) == 0
        assert len(desk.log.payloads) == 1


async def test_a_command_that_changes_nothing_writes_no_commit() -> None:
    async with serving(Desk()) as desk:
        await desk.ask(command(POOL))
        answer = await desk.ask(command(POOL))
        assert answer == Applied("2.0", "unchanged")
        assert len(desk.log.payloads) == 2


async def deposed(desk: Desk, rival: bytes, *texts: str) -> list[Any]:
    """Another engine appends first; the answers to commands that are then asked."""
    await desk.loop.take_leadership("engine-1", "0")
    task = asyncio.create_task(desk.loop.run())
    await desk.ask(command(POOL))
    await desk.log.append(rival, after=2)
    asked = [desk.submit(command(text)) for text in texts]
    with pytest.raises(DeposedError, match="log went on to 3, behind 2"):
        await task
    return [await answer for answer in asked if answer is not None]


async def test_a_refused_append_answers_try_again_and_ends_the_term() -> None:
    desk = Desk()
    answers = await deposed(desk, b"rival", "ADD p1", "ADD p2")
    assert [type(answer) for answer in answers] == [TryAgain, TryAgain]
    assert desk.log.payloads[2:] == [b"rival"]
    assert desk.submit(command("ADD p3")) is None


async def test_those_who_wait_behind_a_refused_append_are_answered_too() -> None:
    log = GatedLog()
    desk = Desk(log)
    await desk.loop.take_leadership("engine-1", "0")
    task = asyncio.create_task(desk.loop.run())
    async with in_flight(desk, log, "ADD p1", "DEL s1") as asked:
        log.payloads.append(b"rival")
    answers = await asyncio.gather(*asked)
    assert [type(answer) for answer in answers] == [TryAgain] * 3
    with pytest.raises(DeposedError):
        await task


async def test_taking_leadership_behind_another_engine_is_refused() -> None:
    desk = Desk()
    await desk.log.append(b"rival", after=0)
    with pytest.raises(DeposedError):
        await desk.loop.take_leadership("engine-1", "0")


async def test_a_cancelled_loop_answers_try_again() -> None:
    log = GatedLog()
    desk = Desk(log)
    await desk.loop.take_leadership("engine-1", "0")
    task = asyncio.create_task(desk.loop.run())
    async with in_flight(desk, log, "ADD p1") as asked:
        task.cancel()
        answers = await asyncio.gather(*asked)
    assert [type(answer) for answer in answers] == [TryAgain, TryAgain]
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_full_queue_takes_no_more_at_once() -> None:
    log = GatedLog()
    async with serving(Desk(log, queue_max=3)) as desk:
        async with in_flight(desk, log, "ADD p1", "ADD p2", "ADD p3", "ADD p4") as asked:
            assert [answer is None for answer in asked] == [False, False, False, False, True]
            assert desk.loop.waiting == 3
            assert desk.tally.rejected == 1
        await asyncio.gather(*(answer for answer in asked if answer is not None))
        assert isinstance(await desk.ask(command("ADD p4")), Allocated)


async def test_stopping_answers_what_waits_and_takes_no_more() -> None:
    log = GatedLog()
    desk = Desk(log)
    async with serving(desk):
        async with in_flight(desk, log, "ADD p1", "ADD p2") as asked:
            desk.loop.stop()
            assert desk.submit(command("ADD p3")) is None
        answers = await asyncio.gather(*asked)
    assert all(isinstance(answer, Allocated) for answer in answers)
    assert desk.loop.waiting == 0
    assert [type(event) for event in desk.events(2)] == [AddressesAllocated] * 3


async def test_a_commit_is_cut_below_the_longest_payload() -> None:
    log = GatedLog(payload_bytes_max=2000)
    async with serving(Desk(log)) as desk:
        async with in_flight(desk, log, *(f"ADD p{n}" for n in range(20))) as asked:
            pass
        answers = await asyncio.gather(*asked)

    assert all(isinstance(answer, Allocated) for answer in answers)
    assert max(map(len, log.payloads)) <= 2000
    counts = [len(commit.decode(payload).events) for payload in log.payloads[3:]]
    assert sum(counts) == 20
    assert 1 < len(counts) < 20


async def test_a_command_longer_than_any_commit_is_refused_and_changes_nothing() -> None:
    ips = ",".join(f"10.1.0.{n}" for n in range(1, 200, 2))
    async with serving(Desk(MemoryLog(payload_bytes_max=1000))) as desk:
        answer = await desk.ask(command(f"pool a 10.1.0.0/24 ips={ips}"))
        assert isinstance(answer, Refused)
        assert answer.refusal.reason == Reason.BAD_REQUEST
        assert len(desk.log.payloads) == 1
        assert isinstance(await desk.ask(command("pool b 10.1.0.0/24")), Applied)


async def test_a_clock_that_steps_back_does_not_take_the_logs_time_back() -> None:
    async with serving(Desk()) as desk:
        desk.clock.now = NOON + 60 * SECOND
        await desk.ask(command("pool a 10.1.0.0/24"))
        desk.clock.now = NOON - 3600 * SECOND
        await desk.ask(command("pool b 10.1.0.0/24"))
        desk.clock.now = NOON + 61 * SECOND
        await desk.ask(command("pool c 10.1.0.0/24"))

    times = [commit.decode(payload).time for payload in desk.log.payloads]
    assert times == [format_time(NOON + seconds * SECOND) for seconds in (0, 60, 60, 61)]


async def test_the_fence_counts_by_the_logs_time_whatever_the_clock_does() -> None:
    async with serving(Desk()) as desk:
        await desk.ask(command(POOL))
        await desk.ask(command("DEL p1-sandbox"))
        desk.clock.now = NOON - 3600 * SECOND
        answer = await desk.ask(command("ADD p1"))
        assert isinstance(answer, Refused)
        desk.clock.now = NOON + 120 * SECOND
        assert isinstance(await desk.ask(command("ADD p1")), Allocated)


async def test_commits_are_chained_by_the_bytes_as_stored() -> None:
    async with serving(Desk()) as desk:
        for text in (POOL, "ADD p1", "DEL p1-sandbox"):
            await desk.ask(command(text))

    prevs = [commit.decode(payload).prev for payload in desk.log.payloads]
    assert prevs == [commit.GENESIS, *map(commit.digest, desk.log.payloads[:-1])]
    assert all(parse_time(commit.decode(payload).time) == NOON for payload in desk.log.payloads)
