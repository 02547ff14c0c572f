"""Simulated processes: what runs until it is killed, with a clock and a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from simulation.loop import Owner
from simulation.net import Connection, Net
from simulation.world import NOON, World


class Process:
    """One life of a process. `name` is that of the machine, which a later life has again."""

    def __init__(self, net: Net, name: str, clock_offset: int) -> None:
        self.world: World = net.world
        self.name = name
        self.owner = Owner()
        self.connection: Connection = net.connect(self.owner, name)
        self.clock_offset = clock_offset
        self._stopped_at = 0.0

    @property
    def is_alive(self) -> bool:
        """Whether it was not killed."""
        return self.owner.alive

    def clock(self) -> int:
        """Its wall clock: microseconds since the Unix epoch."""
        return max(0, NOON + int(self.world.loop.time() * 1e6) + self.clock_offset)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something in it."""
        return self.world.spawn(work, self.owner)

    def kill(self) -> None:
        """SIGKILL: nothing of it runs any more, and the kernel closes its connection."""
        self.owner.alive = False
        self.connection.is_closed = True
        self.world.at(self.world.loop.time() + 0.0005, self.connection.net.forget, self.connection)

    def stop(self) -> None:
        """SIGSTOP."""
        if not self.owner.stopped:
            self.owner.stopped = True
            self._stopped_at = self.world.loop.time()

    def go_on(self, *, lost_time: bool) -> None:
        """SIGCONT. As a machine that was suspended, it may not know that time went by."""
        if self.owner.stopped:
            if lost_time:
                self.clock_offset -= int((self.world.loop.time() - self._stopped_at) * 1e6)
            self.world.loop.go_on(self.owner)
