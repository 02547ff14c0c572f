"""Ending tasks for certain, and running several until one ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

_AGAIN_S = 0.1


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and return when they have ended, however they did.

    A task is cancelled again if it goes on: `asyncio.wait_for`, which nats-py waits with, forgets
    a cancellation that comes in one turn with the result (cpython issue 86296, before 3.12).
    """
    left = [task for task in tasks if not task.done()]
    while left:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=_AGAIN_S)
        left = [task for task in left if not task.done()]
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at: it is no news any more


def check_cancellation() -> None:
    """Raise `CancelledError` if the running task was cancelled and has forgotten it (see `end`).

    For a loop that waits with nats-py again and again: whoever cancels it does so once.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def first_to_end(*coroutines: Coroutine[object, object, None]) -> None:
    """Run side by side until the first one ends; stop the others, and end as it did."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(*tasks)
    for task in ended:
        task.result()
