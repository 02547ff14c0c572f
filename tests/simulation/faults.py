"""What goes wrong: a seed draws which kinds of faults a run has, then each one's time and place.

Each fault ends by itself or with the phase of faults; `heal` ends all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from simulation.cluster import Cluster
from simulation.machines import EngineMachine, Machine, NodeMachine
from simulation.stream import Stream
from simulation.world import World

Fault = Callable[["Faults", Random], Awaitable[None]]


@dataclass(eq=False, slots=True)
class Faults:
    """The faults of one run, on its machines and on what is between them."""

    world: World
    stream: Stream
    engines: list[EngineMachine]
    nodes: list[NodeMachine]
    others: list[Machine]
    cluster: Cluster | None = None
    random: Random = field(init=False)
    running: list[asyncio.Task[None]] = field(default_factory=list["asyncio.Task[None]"])

    def __post_init__(self) -> None:
        self.random = self.world.random("faults")

    @property
    def machines(self) -> list[Machine]:
        """All that can be killed."""
        return [*self.engines, *self.nodes, *self.others]

    async def rage(self, kinds: Mapping[str, Fault], until: float, pause_s: float) -> None:
        """Begin one fault after another until a time; they overlap."""
        while self.world.loop.time() < until:
            await asyncio.sleep(self.random.random() * pause_s)
            kind = self.random.choice(list(kinds))
            self.world.counts[f"fault {kind}"] += 1
            self.running.append(self.world.spawn(_run(kinds[kind], self)))

    async def heal(self) -> None:
        """End all faults, and run what does not run."""
        self.world.note("no more faults")
        self.world.is_calm = True
        for task in self.running:
            task.cancel()
        net, disk = self.stream.net, self.stream.disk
        net.is_up = True
        net.weather = type(net.weather)()
        self.stream.disk = type(disk)()
        for machine in self.machines:
            machine.lag_s = 0.0
            process = machine.running
            if process is not None:
                process.go_on(lost_time=False)
                process.connection.lag_s = 0.0
                process.connection.mend()
            machine.start()
            if machine.ahead_max_s == 0:  # its clock is right again, or leaks would wait for it
                machine.step_clock(-machine.clock_offset)
        for node in self.nodes:
            node.disk.is_full = False
        if self.cluster is not None:
            self.cluster.heal()
        await asyncio.sleep(0)

    async def landing(self, within_s: float) -> bool:
        """Wait for a commit to land. False if none did."""
        try:
            async with asyncio.timeout(within_s):
                await self.stream.landing()
        except TimeoutError:
            return False
        return True

    async def hold(self, random: Random, longest_s: float) -> None:
        """Let a fault last: mostly a short while, sometimes long."""
        await asyncio.sleep(longest_s * random.random() ** 2)


async def _run(fault: Fault, faults: Faults) -> None:
    await fault(faults, faults.random)


async def _kill(faults: Faults, random: Random) -> None:
    """SIGKILL, at any moment."""
    machine = random.choice(faults.machines)
    machine.kill()
    await faults.hold(random, 6.0)
    machine.start()


async def _kill_leader(faults: Faults, random: Random) -> None:
    """SIGKILL of whoever leads, in the middle of its work."""
    leaders = [e for e in faults.engines if e.role == "leader"]
    machine = random.choice(leaders or faults.engines)
    machine.kill()
    await faults.hold(random, 6.0)
    machine.start()


async def _kill_engines(faults: Faults, random: Random) -> None:
    """SIGKILL of all engines: DELs are kept in outboxes, and ADDs are tried in vain."""
    for engine in faults.engines:
        engine.kill()
    await faults.hold(random, 12.0)
    for engine in faults.engines:
        engine.start()


async def _kill_as_it_lands(faults: Faults, random: Random) -> None:
    """SIGKILL of the engine whose commit has just landed, before it hears of it."""
    writer = next((e for e in faults.engines if e.role == "leader"), None)
    if writer is not None and await faults.landing(5.0):
        writer.kill()
        await faults.hold(random, 3.0)
        writer.start()


async def _break_as_it_lands(faults: Faults, random: Random) -> None:
    """A connection breaks while a commit is on its way over it, and is made anew at once."""
    machine = random.choice(faults.engines)
    if await faults.landing(5.0) and machine.running is not None:
        connection = machine.running.connection
        connection.cut(noticed=True)
        await asyncio.sleep(0.002)
        connection.mend()


async def _kill_as_it_asks(faults: Faults, random: Random) -> None:
    """SIGKILL of an agent whose ADD is under way: it arrives when a later DEL may have come."""
    node = random.choice(faults.nodes)
    process = node.running
    if process is None:
        return
    process.connection.lag_s = 4.0
    for _ in range(200):
        await asyncio.sleep(0.01)
        if node.calls and random.random() < 0.3:
            break
    if node.running is process:
        node.kill()
        await faults.hold(random, 0.5)
        node.start()


async def _restart(faults: Faults, random: Random) -> None:
    """SIGTERM of an engine."""
    engine = random.choice(faults.engines)
    engine.stop()
    await faults.hold(random, 4.0)
    engine.start()


async def _stop(faults: Faults, random: Random) -> None:
    """SIGSTOP and SIGCONT: what came meanwhile comes at once."""
    await _stopped(faults, random, random.choice(faults.machines), 12.0)


async def _stop_leader(faults: Faults, random: Random) -> None:
    """SIGSTOP of whoever leads, mostly for long enough that another does."""
    leaders = [e for e in faults.engines if e.role == "leader"]
    await _stopped(faults, random, random.choice(leaders or faults.engines), 4.0)


async def _stopped(faults: Faults, random: Random, machine: Machine, longest_s: float) -> None:
    process = machine.running
    if process is None:
        return
    faults.world.note(f"{machine.name} is stopped")
    process.stop()
    try:
        await faults.hold(random, longest_s)
    finally:
        faults.world.note(f"{machine.name} goes on")
        before = process.clock_offset
        process.go_on(lost_time=random.random() < 0.5)
        machine.clock_offset += process.clock_offset - before


async def _cut(faults: Faults, random: Random) -> None:
    """A connection breaks; its client notices at once, later, or not before it is mended."""
    leaders: list[Machine] = [e for e in faults.engines if e.role == "leader"]
    machine = random.choice(leaders if leaders and random.random() < 0.4 else faults.machines)
    process = machine.running
    if process is None:
        return
    connection = process.connection
    notices = random.choice(("at once", "later", "never"))
    faults.world.note(f"{machine.name} is cut off and notices {notices}")
    connection.cut(noticed=notices == "at once")
    try:
        await faults.hold(random, 5.0)
        if notices == "later":
            connection.cut(noticed=True)
        await faults.hold(random, 5.0)
    finally:
        faults.world.note(f"{machine.name} is connected again")
        connection.mend()


async def _deafen(faults: Faults, random: Random) -> None:
    """What is said to an engine is lost for a while, and it does not notice."""
    machine = random.choice(faults.engines)
    process = machine.running
    if process is None:
        return
    faults.world.note(f"{machine.name} hears nothing")
    process.connection.is_deaf = True
    try:
        await faults.hold(random, 4.0)
    finally:
        faults.world.note(f"{machine.name} hears again")
        process.connection.is_deaf = False


async def _restart_server(faults: Faults, random: Random) -> None:
    """SIGKILL of nats-server: all are cut off, what was not durable is lost."""
    net = faults.stream.net
    if not net.is_up:
        return
    faults.world.note("nats-server is killed")
    net.is_up = False
    faults.stream.restart()
    for machine in faults.machines:
        if machine.running is not None:
            machine.running.connection.cut(noticed=True)
    try:
        await faults.hold(random, 5.0)
    finally:
        faults.world.note("nats-server runs again")
        net.is_up = True
        for machine in faults.machines:
            if machine.running is not None:
                machine.running.connection.mend()


async def _lag(faults: Faults, random: Random) -> None:
    """All that one machine says and hears is late."""
    machine = random.choice(faults.machines)
    machine.lag_s = random.choice((0.05, 0.5, 3.0))
    faults.world.note(f"{machine.name} lags up to {machine.lag_s} s")
    if machine.running is not None:
        machine.running.connection.lag_s = machine.lag_s
    try:
        await faults.hold(random, 8.0)
    finally:
        machine.lag_s = 0.0
        if machine.running is not None:
            machine.running.connection.lag_s = 0.0


async def _lose(faults: Faults, random: Random) -> None:
    """Messages are lost."""
    await _weather(faults, random, "lost", random.choice((0.02, 0.1, 0.5)))


async def _double(faults: Faults, random: Random) -> None:
    """Messages come twice."""
    await _weather(faults, random, "doubled", random.choice((0.1, 0.5)))


async def _be_late(faults: Faults, random: Random) -> None:
    """Some messages are late."""
    faults.stream.net.weather.late_s = random.choice((0.1, 1.0, 5.0))
    await _weather(faults, random, "late", random.choice((0.05, 0.3)))


async def _weather(faults: Faults, random: Random, what: str, how_much: float) -> None:
    weather = faults.stream.net.weather
    faults.world.note(f"messages: {how_much:.0%} {what}")
    setattr(weather, what, how_much)
    try:
        await faults.hold(random, 8.0)
    finally:
        setattr(weather, what, 0.0)


async def _slow_disk(faults: Faults, random: Random) -> None:
    """Appends take long."""
    disk = faults.stream.disk
    disk.write_s = random.choice((0.05, 0.6, 3.0))
    faults.world.note(f"appends take up to {disk.write_s} s")
    try:
        await faults.hold(random, 8.0)
    finally:
        disk.write_s = 0.002


async def _full_disk(faults: Faults, random: Random) -> None:
    """The server's disk is full: appends are refused."""
    disk = faults.stream.disk
    faults.world.note("the log's disk is full")
    disk.is_full = True
    try:
        await faults.hold(random, 6.0)
    finally:
        disk.is_full = False


async def _silence(faults: Faults, random: Random) -> None:
    """JetStream does not answer."""
    disk = faults.stream.disk
    faults.world.note("JetStream is silent")
    disk.is_silent = True
    try:
        await faults.hold(random, 6.0)
    finally:
        disk.is_silent = False


async def _lose_answers(faults: Faults, random: Random) -> None:
    """Appends land and are not answered."""
    disk = faults.stream.disk
    disk.answer_lost = random.choice((0.3, 0.9))
    faults.world.note(f"{disk.answer_lost:.0%} of the appends that land are not answered")
    try:
        await faults.hold(random, 6.0)
    finally:
        disk.answer_lost = 0.0


async def _step_clock(faults: Faults, random: Random) -> None:
    """Somebody sets a machine's clock, forth or back.

    None goes ahead by more than the machine allows: an engine's would end the fence of a DEL before
    its time, a collector's a pod's grace (docs/adr/0035, 0080).
    """
    machine = random.choice(faults.machines)
    seconds = random.choice((0.5, 30.0, 150.0, 5000.0)) * random.choice((1, -1))
    seconds = min(seconds, machine.ahead_max_s - machine.clock_offset / 1e6)
    faults.world.note(f"the clock of {machine.name} is set by {seconds} s")
    machine.step_clock(int(seconds * 1e6))
    await asyncio.sleep(0)


async def _fill_node(faults: Faults, random: Random) -> None:
    """A node's disk is full: its outbox takes nothing."""
    node = random.choice(faults.nodes)
    faults.world.note(f"the disk of {node.name} is full")
    node.disk.is_full = True
    try:
        await faults.hold(random, 5.0)
    finally:
        node.disk.is_full = False


KINDS: dict[str, Fault] = {
    "kill": _kill,
    "kill-leader": _kill_leader,
    "kill-engines": _kill_engines,
    "kill-as-it-lands": _kill_as_it_lands,
    "break-as-it-lands": _break_as_it_lands,
    "kill-as-it-asks": _kill_as_it_asks,
    "restart": _restart,
    "stop": _stop,
    "stop-leader": _stop_leader,
    "cut": _cut,
    "deafen": _deafen,
    "restart-server": _restart_server,
    "lag": _lag,
    "lose": _lose,
    "double": _double,
    "late": _be_late,
    "slow-disk": _slow_disk,
    "full-disk": _full_disk,
    "silence": _silence,
    "lose-answers": _lose_answers,
    "step-clock": _step_clock,
    "fill-node": _fill_node,
}
"""Every kind of fault by its name."""

CLOCK_KINDS = ("step-clock", "stop", "stop-leader")
"""The kinds by which a clock may go wrong."""
