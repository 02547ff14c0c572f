"""Engines of one realm on a log and a bus in memory, to be run in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from random import Random

from ipledger.engine.client import EngineClient
from ipledger.engine.engine import Engine, Role
from ipledger.engine.service import EngineService
from ipledger.engine.snapshots import Snapshots
from ipledger.events.log import Log
from ipledger.events.memory import MemoryLog
from support.desk import Clock
from support.memory_bus import MemoryBus, MemoryNet

REALM = "realm"


@dataclass(eq=False)
class Member:
    """A running engine with its service, and the bus that both are on."""

    engine: Engine
    service: EngineService
    bus: MemoryBus
    running: asyncio.Task[None]

    async def kill(self) -> None:
        """End it as a crash does: nothing more comes from it."""
        self.bus.is_connected = False
        self.running.cancel()
        await asyncio.wait((self.running,))

    async def stop(self) -> None:
        """End it as an operator does."""
        self.engine.stop()
        await self.running
        await self.service.stop()

    async def becomes(self, role: Role) -> None:
        """Wait until it has this role. A broken engine fails the test."""
        while self.engine.role is not role:
            await asyncio.sleep(0.001)
            if self.running.done():
                self.running.result()


@dataclass
class Realm:
    """The log, the net, and whoever runs on them."""

    log: MemoryLog = field(default_factory=MemoryLog)
    net: MemoryNet = field(default_factory=MemoryNet)
    clock: Clock = field(default_factory=Clock)
    members: list[Member] = field(default_factory=list[Member])

    async def start(
        self,
        name: str,
        *,
        alone: bool = False,
        log: Log | None = None,
        snapshots: Snapshots | None = None,
    ) -> Member:
        """An engine that has begun to run. Its randomness is seeded with its name."""
        bus = MemoryBus(self.net)
        engine = Engine(
            log or self.log,
            bus,
            REALM,
            name,
            clock=self.clock,
            random=Random(name),
            alone=alone,
            snapshots=snapshots,
        )
        service = EngineService(bus, engine)
        await service.start()
        member = Member(engine, service, bus, asyncio.create_task(engine.run()))
        self.members.append(member)
        return member

    async def leader(self, name: str, snapshots: Snapshots | None = None) -> Member:
        """An engine that leads."""
        member = await self.start(name, alone=True, snapshots=snapshots)
        await member.becomes(Role.LEADER)
        return member

    async def standby(self, name: str) -> Member:
        """An engine that follows, and waits for the leader to be gone."""
        member = await self.start(name)
        await member.becomes(Role.STANDBY)
        return member

    def client(self, bus: MemoryBus | None = None, timeout_s: float = 10.0) -> EngineClient:
        """A client, on a bus of its own unless one is given."""
        return EngineClient(bus or MemoryBus(self.net), REALM, timeout_s, Random("client"))

    def leaders(self) -> list[str]:
        """The names of those that believe they lead."""
        return [m.engine.name for m in self.members if m.engine.role is Role.LEADER]


@contextlib.asynccontextmanager
async def realm() -> AsyncGenerator[Realm]:
    """A realm whose engines are ended behind the test."""
    made = Realm()
    try:
        yield made
    finally:
        for member in made.members:
            await member.kill()
            await member.service.stop()
