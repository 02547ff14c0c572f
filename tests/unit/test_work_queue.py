"""The queue of work: each key once at a time, and again where it failed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest

from ipledger.events.tasks import end
from ipledger.kube.work_queue import WorkQueue


def unheard(key: str, error: Exception, pause_s: float) -> None: ...


@contextlib.asynccontextmanager
async def running(work: Callable[[str], Awaitable[None]]) -> AsyncGenerator[WorkQueue[str]]:
    queue = WorkQueue(work, unheard, lambda: 0.0, (KeyError,))
    task = asyncio.create_task(queue.run(2))
    try:
        yield queue
    finally:
        await end(task)


async def test_a_key_that_is_added_while_it_is_worked_on_is_worked_on_once_more() -> None:
    gate, seen, done = asyncio.Event(), list[str](), asyncio.Event()
    begun = asyncio.Event()

    async def work(key: str) -> None:
        seen.append(key)
        if len(seen) == 2:
            begun.set()
        await gate.wait()
        if len(seen) == 3:
            done.set()

    async with running(work) as queue:
        queue.add("a")
        queue.add("b")
        await begun.wait()
        queue.add("a")
        queue.add("a")
        assert seen == ["a", "b"]
        gate.set()
        await done.wait()
    assert seen == ["a", "b", "a"]


async def test_what_failed_is_tried_again_and_others_are_not_held_up() -> None:
    seen: list[str] = []
    done = asyncio.Event()

    async def work(key: str) -> None:
        seen.append(key)
        if key == "bad" and seen.count("bad") < 3:
            raise KeyError(key)
        if key == "bad":
            done.set()

    async with running(work) as queue:
        queue.add("bad")
        queue.add("good")
        await done.wait()
    assert seen[:2] == ["bad", "good"]
    assert seen.count("bad") == 3


async def test_the_earlier_of_two_timers_counts() -> None:
    done = asyncio.Event()

    async def work(key: str) -> None:
        done.set()

    async with running(work) as queue:
        queue.add_later("a", 3600)
        queue.add_later("a", 0.001)
        queue.add_later("a", 3600)
        await done.wait()


async def test_what_nobody_expects_ends_the_queue() -> None:
    async def work(key: str) -> None:
        raise ZeroDivisionError

    queue = WorkQueue(work, unheard, lambda: 0.0, (KeyError,))
    queue.add("a")
    with pytest.raises(ZeroDivisionError):
        await queue.run(2)
