"""A realistic history of a realm, the same for the same seed: what a month of a cluster writes.

Every command is decided by the engine's own core, so that the history is one that could have
been. Workloads roll, scale with the day and crash; runtimes restart sandboxes; pods of stateful
sets keep their addresses; pools run full, change and are reserved; a DEL never comes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from ipledger.engine.commands import (
    Allocate,
    AnyCommand,
    ApplyApplication,
    ApplyPool,
    ApplyReservation,
    Release,
    ReleaseAllocation,
    Steps,
)
from ipledger.engine.decide import decide
from ipledger.events import commit
from ipledger.events.facts import Application, Owner, Pod, PoolSpec, ReservationSpec
from ipledger.events.log import Entry
from ipledger.events.types import AnyEvent, LeadershipTaken
from ipledger.projections.evolve import Moment, evolve
from ipledger.projections.fold import Fold

START = 1_795_000_000_000_000
DAY = 86_400_000_000
NODES = 200
NAMESPACES = ("shop", "bank", "search", "mail", "data", "ops", "lab", "edge")


class Cluster:
    """What asks for addresses: commands, a few at a time, each batch with a time."""

    def __init__(self, seed: int, pods: int, micros_a_batch: int, scarce: int) -> None:
        self.scarce = PoolSpec("scarce", 4, "10.99.0.0/24", (f"10.99.0.10-10.99.0.{9 + scarce}",))
        self.random = random.Random(seed)
        self.now = START
        self._pods = pods
        self._micros = micros_a_batch
        self._running: list[Allocate] = []
        self._vacant: list[Allocate] = []
        self._born = 0

    def resources(self) -> Iterator[list[AnyCommand]]:
        """Pools of each namespace, one too small; stateful applications; a reservation."""
        for index, namespace in enumerate(NAMESPACES):
            yield [
                ApplyPool(pool=_pool(namespace, 4, index)),
                ApplyPool(pool=_pool(namespace, 6, index)),
            ]
        yield [ApplyPool(pool=self.scarce)]
        yield [
            ApplyReservation(reservation=ReservationSpec("printers", 4, ("10.0.0.10-10.0.0.19",)))
        ]
        for namespace in NAMESPACES:
            for name in ("db", "queue", "cache"):
                told = Application("apps/v1", "StatefulSet", namespace, name, replicas=60)
                yield [ApplyApplication(application=told)]

    def batch(self) -> list[AnyCommand]:
        """What comes in while one commit is on its way."""
        self.now += 1 + int(self.random.expovariate(1 / self._micros))
        count = min(64, 1 + int(self.random.expovariate(1 / 12)))
        return [command for _ in range(count) for command in self._something()]

    def _something(self) -> Iterator[AnyCommand]:
        chance = self.random.random()
        day = math.sin(self.now / DAY * 2 * math.pi)
        wanted = self._pods * (1 + 0.3 * day)
        if chance < 0.04:
            yield self._scarce()
        elif chance < 0.0402:
            yield self._changed_pool()
        elif chance < 0.10 and self._running:
            yield self._new_sandbox()
        elif len(self._running) < wanted * self.random.uniform(0.9, 1.1) or not self._running:
            yield self._start()
        else:
            yield self._end()

    def _start(self) -> Allocate:
        if self._vacant and self.random.random() < 0.5:
            before = self._vacant.pop(self.random.randrange(len(self._vacant)))
            again = self._pod(before.pod.namespace, before.pod.name, before.owner)
        elif self.random.random() < 0.08:
            again = self._stateful()
        else:
            namespace = self.random.choice(NAMESPACES)
            name = f"web-{self.random.randrange(30)}"
            owner = Owner("apps/v1", "Deployment", name, f"uid-{namespace}-{name}")
            suffix = f"{self.random.getrandbits(40):010x}-{self.random.getrandbits(20):05x}"
            again = self._pod(namespace, f"{name}-{suffix}", owner)
        self._running.append(again)
        return again

    def _stateful(self) -> Allocate:
        namespace, name = (
            self.random.choice(NAMESPACES),
            self.random.choice(("db", "queue", "cache")),
        )
        owner = Owner("apps/v1", "StatefulSet", name, f"uid-{namespace}-{name}")
        return self._pod(namespace, f"{name}-{self.random.randrange(60)}", owner)

    def _pod(self, namespace: str, name: str, owner: Owner | None, pool: str = "") -> Allocate:
        self._born += 1
        bits = self.random.getrandbits
        uid = f"{bits(32):08x}-{bits(16):04x}-4{bits(12):03x}-a{bits(12):03x}-{bits(48):012x}"
        dual = namespace in ("edge", "lab")
        return Allocate(
            pod=Pod(namespace, name, uid),
            sandbox=f"{bits(256):064x}",
            interface="eth0",
            network="podnet",
            node=f"worker-{self.random.randrange(NODES)}",
            owner=owner,
            default_ipv4_pools=(pool,) if pool else (f"{namespace}-v4",),
            default_ipv6_pools=(f"{namespace}-v6",) if dual and not pool else (),
            traceparent=f"00-{bits(128):032x}-{bits(64):016x}-01",
            steps=Steps(agent=self.now - self.random.randrange(300, 4000)),
        )

    def _scarce(self) -> Allocate:
        job = f"batch-{self.random.getrandbits(32):08x}"
        owner = Owner("batch/v1", "Job", job, f"uid-{job}")
        started = self._pod("lab", f"{job}-x7k2p", owner, pool="scarce")
        self._running.append(started)
        return started

    def _new_sandbox(self) -> Allocate:
        at = self.random.randrange(len(self._running))
        running = self._running[at]
        again = Allocate(
            pod=running.pod,
            sandbox=f"{self.random.getrandbits(256):064x}",
            interface=running.interface,
            network=running.network,
            node=running.node,
            owner=running.owner,
            default_ipv4_pools=running.default_ipv4_pools,
            default_ipv6_pools=running.default_ipv6_pools,
        )
        self._running[at] = again
        return again

    def _end(self) -> AnyCommand:
        at = self.random.randrange(len(self._running))
        self._running[at], self._running[-1] = self._running[-1], self._running[at]
        ended = self._running.pop()
        if ended.owner is not None and ended.owner.kind == "StatefulSet":
            self._vacant.append(ended)
        if self.random.random() < 0.01:
            return ReleaseAllocation(allocation=f"a{self._born}", evidence="pod not in the watch")
        return Release(sandbox=ended.sandbox, interface="eth0", node=ended.node)

    def _changed_pool(self) -> AnyCommand:
        index = self.random.randrange(len(NAMESPACES))
        gateway = f"10.{index}.0.{self.random.randrange(1, 9)}"
        spec = _pool(NAMESPACES[index], 4, index)
        return ApplyPool(pool=PoolSpec(spec.name, 4, spec.subnet, spec.ips, gateway=gateway))


def _pool(namespace: str, ip_version: int, index: int) -> PoolSpec:
    if ip_version == 4:
        ips = (f"10.{index}.0.10-10.{index}.63.250",)
        return PoolSpec(f"{namespace}-v4", 4, f"10.{index}.0.0/16", ips, gateway=f"10.{index}.0.1")
    ips = (f"fd00:{index}::10-fd00:{index}::ffff:ffff",)
    return PoolSpec(f"{namespace}-v6", 6, f"fd00:{index}::/64", ips)


class Writer:
    """Decides commands and writes what follows as commits."""

    def __init__(self) -> None:
        self.fold = Fold()
        self.events = 0

    def write(self, commands: list[AnyCommand], now: int) -> Entry | None:
        """The commit of a batch of commands, None if nothing follows from them."""
        events: list[AnyEvent] = []
        for command in commands:
            decision = decide(self.fold.state, command, now)
            for event in decision.events:
                self._evolve(event, len(events), now)
                events.append(event)
        return self._commit(events, now) if events else None

    def lead(self, now: int) -> Entry:
        """An engine takes the lead."""
        epoch = self.fold.state.epoch + 1
        event = LeadershipTaken(epoch=epoch, engine=f"engine-{epoch % 3}", version="0.1.0")
        self._evolve(event, 0, now)
        return self._commit([event], now)

    def _evolve(self, event: AnyEvent, index: int, now: int) -> None:
        evolve(self.fold.state, event, Moment(self.fold.sequence + 1, index, now))

    def _commit(self, events: list[AnyEvent], now: int) -> Entry:
        encoded = [commit.encode_event(event) for event in events]
        payload = commit.encode(self.fold.state.epoch, now, self.fold.hash, encoded)
        entry = Entry(self.fold.sequence + 1, payload)
        self.fold.advance(entry.sequence, commit.digest(payload), now)
        self.events += len(events)
        return entry


def entries(events: int, seed: int = 7, *, days: int = 30, scarce: int = 50) -> Iterator[Entry]:
    """Commits with at least so many events; one pool has only `scarce` addresses."""
    pods = max(20, min(20_000, events // 20))
    cluster = Cluster(seed, pods, days * DAY * 11 // max(events, 1), scarce)
    writer = Writer()
    yield writer.lead(cluster.now)
    for commands in cluster.resources():
        entry = writer.write(commands, cluster.now)
        if entry is not None:
            yield entry
    while writer.events < events:
        if cluster.random.random() < 0.0003:
            yield writer.lead(cluster.now)
        entry = writer.write(cluster.batch(), cluster.now)
        if entry is not None:
            yield entry
