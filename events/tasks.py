"""Ending tasks for certain."""

from __future__ import annotations

import asyncio
from typing import Any

_AGAIN_S = 0.1


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and return when they have ended, however they did.

    A task is cancelled again if it goes on: `asyncio.wait_for` before Python 3.12, which nats-py
    waits with, forgets a cancellation that comes in the same turn as the result (cpython issue
    86296).
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN_S)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at: it is no news any more
