"""The machines of a run: engines and nodes, each with what of it outlives its process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple, TypeAlias

import msgspec
from support.memory_store import MemoryStore

from ipledger.cni.errors import CniError, Code
from ipledger.cni.handler import CniHandler
from ipledger.cni.outbox import Outbox, Stored, StoreError
from ipledger.cni.proving import Proving
from ipledger.cni.request import parse
from ipledger.engine.commands import Release, Steps
from ipledger.engine.engine import Engine, Role
from ipledger.engine.service import EngineService
from simulation.link import Link
from simulation.process import Process
from simulation.stream import Stream
from simulation.witness import Witness, WitnessedClient
from simulation.world import REALM, World

Headers: TypeAlias = Mapping[str, str]


class Outcome(NamedTuple):
    """How a CNI call ended: 0 and the addresses, or an error's code and text."""

    code: int
    text: str = ""
    addresses: tuple[str, ...] = ()


@dataclass(eq=False)
class Machine:
    """Where a process runs, dies and is started again."""

    world: World
    stream: Stream
    name: str
    clock_offset: int = 0
    process: Process | None = None
    starts: int = 0
    lag_s: float = 0.0
    ahead_max_s: float = float("inf")
    """How far its clock may be ahead."""

    @property
    def running(self) -> Process | None:
        """Its process, unless there is none."""
        return self.process if self.process is not None and self.process.is_alive else None

    def start(self) -> None:
        """Run a new process, unless one runs."""
        if self.running is not None:
            return
        self.starts += 1
        self.world.note(f"{self.name} starts")
        process = Process(self.stream.net, self.name, self.clock_offset)
        process.connection.lag_s = self.lag_s
        self.process = process
        self.begin(process, self.world.random(f"{self.name} {self.starts}"))

    def kill(self) -> None:
        """SIGKILL."""
        if self.running is not None:
            self.world.note(f"{self.name} is killed")
            self.running.kill()

    def step_clock(self, micros: int) -> None:
        """Somebody sets the machine's clock."""
        self.clock_offset += micros
        if self.process is not None:
            self.process.clock_offset += micros

    def begin(self, process: Process, random: Random) -> None:
        """What its process does."""
        raise NotImplementedError


@dataclass(eq=False)
class EngineMachine(Machine):
    """An engine. Nothing of it outlives its process."""

    ahead_max_s: float = 30.0
    engine: Engine | None = None
    is_alone: bool = False
    task: asyncio.Task[None] | None = None

    def begin(self, process: Process, random: Random) -> None:
        """See `Machine`."""
        log = self.stream.log(process.connection)
        bus = process.connection
        engine = Engine(
            log, bus, REALM, self.name, clock=process.clock, random=random, alone=self.is_alone
        )
        self.engine = engine
        service = EngineService(bus, engine)
        self.task = process.spawn(self._run(process, engine, service))

    async def _run(self, process: Process, engine: Engine, service: EngineService) -> None:
        await service.start()
        follow_service = engine.on_role

        async def on_role(role: Role) -> None:
            self.world.note(f"{self.name} is {role}")
            await follow_service(role)

        engine.on_role = on_role
        await engine.run()
        await service.stop()
        if not self.world.is_over:
            process.kill()
            self.world.note(f"{self.name} has ended")
            if self.world.is_calm:
                self.start()

    def stop(self) -> None:
        """SIGTERM."""
        if self.running is not None and self.engine is not None:
            self.world.note(f"{self.name} is to end")
            self.engine.stop()

    @property
    def role(self) -> Role:
        """What its engine does now."""
        if self.running is None or self.engine is None:
            return Role.STOPPED
        return self.engine.role


class Disk(MemoryStore):
    """A node's database, which outlives its agent. Writing takes a moment, and may fail."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__()
        self.is_full = False
        self._world = world
        self._name = name
        self._random = world.random(f"{name} disk")

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits here."""
        return not self._kept

    async def _wait(self) -> None:
        await asyncio.sleep(self._random.random() * 0.002)
        if self.is_full:
            raise StoreError("database or disk is full")

    async def put(self, release: Release) -> None:
        """See `OutboxStore.put`."""
        await self._wait()
        await super().put(release)
        self._world.note(f"{self._name} keeps the DEL of {release.sandbox} {release.interface}")
        await asyncio.sleep(self._random.random() * 0.002)

    async def pending(self) -> list[Stored]:
        """See `OutboxStore.pending`."""
        await self._wait()
        return await super().pending()

    async def delete(self, stored_id: int) -> None:
        """See `OutboxStore.delete`."""
        await self._wait()
        await super().delete(stored_id)
        await asyncio.sleep(self._random.random() * 0.002)


@dataclass(eq=False)
class NodeMachine(Machine):
    """A node with its agent. `disk` outlives the agent."""

    witness: Witness = field(kw_only=True)
    disk: Disk = field(kw_only=True)
    link: Link = field(kw_only=True)
    add_timeout_s: float = 20.0
    handler: CniHandler | None = None
    calls: dict[asyncio.Future[Outcome], None] = field(
        default_factory=dict["asyncio.Future[Outcome]", None]
    )

    def begin(self, process: Process, random: Random) -> None:
        """See `Machine`."""
        client = WitnessedClient(process.connection, REALM, random=random)
        client.witness = self.witness
        outbox = Outbox(self.disk, self.name)
        proving = Proving(self.link.probe(self.name, random), process.clock)
        self.handler = CniHandler(client, outbox, self.name, self.add_timeout_s, proving=proving)
        process.spawn(outbox.send(client))

    def kill(self) -> None:
        """SIGKILL; whoever waits for an answer finds the connection reset."""
        super().kill()
        for call in self.calls:
            if not call.done():
                call.set_result(Outcome(Code.TRY_AGAIN_LATER, "the agent cannot be reached"))
        self.calls.clear()

    async def call(self, headers: Headers, body: bytes) -> Outcome:
        """Call the CNI plugin, as a runtime does."""
        if self.running is None:
            return Outcome(Code.TRY_AGAIN_LATER, "the agent cannot be reached")
        call: asyncio.Future[Outcome] = self.world.loop.create_future()
        self.calls[call] = None
        self.running.spawn(self._serve(self.running, headers, body, call))
        try:
            return await call
        finally:
            self.calls.pop(call, None)

    async def _serve(
        self,
        process: Process,
        headers: Headers,
        body: bytes,
        call: asyncio.Future[Outcome],
    ) -> None:
        handler = self.handler
        assert handler is not None
        try:
            handled = await handler.handle(parse(headers, body), Steps(agent=process.clock()))
        except CniError as error:
            outcome = Outcome(error.code, str(error))
        else:
            outcome = Outcome(0, "", _addresses(handled.body))
        if not call.done():
            call.set_result(outcome)


class _Ip(msgspec.Struct):
    address: str


class _Result(msgspec.Struct):
    ips: list[_Ip]


def _addresses(response: bytes) -> tuple[str, ...]:
    if not response:
        return ()
    return tuple(ip.address for ip in msgspec.json.decode(response, type=_Result).ips)
