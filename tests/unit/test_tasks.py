"""Tasks end when they are to, though they forget a cancellation."""

from __future__ import annotations

import asyncio
import contextlib

from support.virtual_time import in_virtual_time

from ipledger.events.tasks import check_cancellation, end


@in_virtual_time
async def test_a_task_that_forgets_a_cancellation_ends_all_the_same() -> None:
    forgotten = 0

    async def forgetful() -> None:
        nonlocal forgotten
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                forgotten += 1
                if forgotten == 3:
                    raise

    task = asyncio.create_task(forgetful())
    await asyncio.sleep(0)
    await end(task)
    assert task.cancelled()
    assert forgotten == 3


@in_virtual_time
async def test_a_loop_finds_a_cancellation_that_was_forgotten_in_it() -> None:
    rounds = 0

    async def loop() -> None:
        nonlocal rounds
        while rounds < 3:
            check_cancellation()
            rounds += 1
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    task = asyncio.create_task(loop())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert rounds == 1


@in_virtual_time
async def test_tasks_that_have_ended_or_failed_are_no_trouble() -> None:
    async def fail() -> None:
        raise ValueError("known already")

    tasks = [asyncio.create_task(fail()), asyncio.create_task(asyncio.sleep(0))]
    await asyncio.wait(tasks)
    await end(*tasks)
    await end()
