"""One run: a seed's realm is built, troubled, healed, and examined."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple, TypeVar, cast
from unittest import mock

from ipledger.engine import commit_loop
from ipledger.engine.engine import Role
from ipledger.events.commit import decode
from ipledger.events.facts import Owner, Pod
from ipledger.events.position import Position
from ipledger.projections.state import State
from simulation.book import Book, SimulatedPod
from simulation.cluster import Cluster
from simulation.cluster_faults import CLUSTER_KINDS
from simulation.collecting import CollectorMachine
from simulation.faults import KINDS, Faults
from simulation.kubelet import Kubelets
from simulation.link import Link
from simulation.loop import SimulatedLoop
from simulation.machines import Disk, EngineMachine, Machine, NodeMachine
from simulation.net import Net
from simulation.operator import Operator
from simulation.oracles import Audit, Decisions, check_that_tampering_is_found
from simulation.plan import ClusterPlan, Plan, plan
from simulation.stream import Stream, describe
from simulation.witness import Witness
from simulation.world import World, WrongError

_BEGIN_WITHIN_S = 30.0
_ANSWERED_WITHIN_S = 90.0
"""How long after the last fault the last call may be answered: more than an ADD is tried for."""
_SETTLED_WITHIN_S = 30.0
_COLLECTED_WITHIN_S = 900.0
"""How long after the last fault the last leak may be there: a watch that broke and did not notice,
and several looks of the collector."""
_COLLECTED_LOOK_S = 0.5
_LOOK_S = 0.05
ALL_KINDS = {**KINDS, **CLUSTER_KINDS}

T = TypeVar("T")
Tell = Callable[[str], None]


class Result(NamedTuple):
    """How a run went. `wrong` is '' if all was as it must be."""

    seed: int
    wrong: str
    trace: tuple[str, ...]
    digest: str
    counts: Counter[str]
    now: float


@dataclass(eq=False)
class Realm:
    """Everything of one run."""

    world: World
    plan: Plan
    net: Net = field(init=False)
    stream: Stream = field(init=False)
    witness: Witness = field(init=False)
    decisions: Decisions = field(default_factory=Decisions)
    book: Book = field(init=False)
    engines: list[EngineMachine] = field(init=False)
    nodes: list[NodeMachine] = field(init=False)
    operator: Operator = field(init=False)
    kubelets: Kubelets = field(init=False)
    faults: Faults = field(init=False)
    calm: asyncio.Event = field(default_factory=asyncio.Event)
    cluster: Cluster | None = None
    pods: list[asyncio.Task[None]] = field(default_factory=list["asyncio.Task[None]"])
    uids: int = 0

    def __post_init__(self) -> None:
        world, plan = self.world, self.plan
        self.net = Net(world)
        self.witness = Witness(world)
        self.stream = Stream(self.net, on_landed=self._landed, is_replicated=plan.is_replicated)
        self.book = Book(world)
        link = Link(world, self.book)
        link.drawn(plan.pools)
        self.engines = [
            EngineMachine(world, self.stream, f"engine-{n}", is_alone=plan.are_alone)
            for n in range(plan.engines)
        ]
        self.nodes = [
            NodeMachine(
                world,
                self.stream,
                f"node-{n}",
                witness=self.witness,
                disk=Disk(world, f"node-{n}"),
                link=link,
                add_timeout_s=plan.add_timeout_s,
            )
            for n in range(plan.nodes)
        ]
        self.operator = Operator(
            world,
            self.stream,
            "operator",
            witness=self.witness,
            book=self.book,
            pools=plan.pools,
            cart=plan.cart,
            is_collector=plan.has_collector,
            pace_s=plan.operator_pace_s,
        )
        by_name = {node.name: node for node in self.nodes}
        self.kubelets = Kubelets(world, by_name, self.book, self.calm, plan.is_forgetful)
        others: list[Machine] = [self.operator]
        if plan.cluster is not None:
            self.cluster = self._make_cluster(plan.cluster)
            self.operator.cluster = self.cluster
            others.append(self._make_collector(self.cluster, plan.cluster))
        self.faults = Faults(world, self.stream, self.engines, self.nodes, others, self.cluster)

    def _make_cluster(self, of: ClusterPlan) -> Cluster:
        plan = self.plan
        return Cluster(
            self.world,
            self.book,
            self.kubelets,
            plan.named4,
            plan.named6,
            plan.interfaces,
            plan.lifetime_s,
            of.read_lag_s,
            self.calm,
        )

    def _make_collector(self, cluster: Cluster, of: ClusterPlan) -> CollectorMachine:
        return CollectorMachine(
            self.world,
            self.stream,
            "collector",
            witness=self.witness,
            server=cluster.server,
            settings=of.settings,
        )

    def _landed(self, sequence: int, payload: bytes) -> None:
        self.world.counts["commits"] += 1
        read = decode(payload)
        self.world.note(f"commit {sequence}: {describe(read)}")
        for event in read.events:
            self.book.landed(event)

    async def run(self) -> None:
        """From the first engine to the last examination."""
        for machine in self.faults.machines:
            machine.start()
        await self._within(_BEGIN_WITHIN_S, self.operator.is_ready.wait(), "no pool was created")
        self._populate()
        await self._trouble(self.plan.faults_s)
        self.calm.set()
        self.operator.is_calm = True
        await self._trouble(self.plan.idle_s)
        await self.faults.heal()
        await self._within(_ANSWERED_WITHIN_S, self._until(self._is_quiet), self._not_quiet)
        await self._within(_SETTLED_WITHIN_S, self._until(self._is_settled), self._not_settled)
        if self.cluster is not None:
            await self._collect(self.cluster)
        await self._examine()

    async def _collect(self, cluster: Cluster) -> None:
        """Nothing goes wrong any more, and time passes: nothing leaked is left."""
        await self.operator.tell_set()
        gone = self._until(lambda: not cluster.leaks(), _COLLECTED_LOOK_S)
        await self._within(_COLLECTED_WITHIN_S, gone, lambda: f"leaks: {cluster.leaks()}")

    async def _trouble(self, seconds: float) -> None:
        until = self.world.loop.time() + seconds
        if self.plan.faults:
            kinds = {kind: ALL_KINDS[kind] for kind in self.plan.faults}
            await self.faults.rage(kinds, until, self.plan.fault_pause_s)
        else:
            await asyncio.sleep(seconds)

    def _populate(self) -> None:
        random = self.world.random("pods")
        for n in range(self.plan.deployments):
            self.pods.append(self.world.spawn(self._deploy(f"web-{n}", None, random)))
        owner = Owner("apps/v1", "StatefulSet", "cart", "cart-uid")
        for n in range(self.plan.cart):
            self.pods.append(self.world.spawn(self._deploy(f"cart-{n}", owner, random)))

    async def _deploy(self, name: str, owner: Owner | None, random: Random) -> None:
        """One pod after another of that name, wherever there is room."""
        if self.cluster is not None:
            await self.cluster.keep(name, owner)
            return
        while not self.calm.is_set():
            self.uids += 1
            pod = SimulatedPod(
                Pod("shop", name, f"u{self.uids}"),
                random.choice(self.nodes).name,
                owner,
                self.plan.interfaces,
                self.plan.named4,
                self.plan.named6,
            )
            self.book.live.append(pod)
            await self.kubelets.live(pod, random.random() * self.plan.lifetime_s)
            await asyncio.sleep(random.random())

    # What is waited for once nothing goes wrong any more.

    async def _until(self, is_so: Callable[[], bool], look_s: float = _LOOK_S) -> None:
        while not is_so():  # noqa: ASYNC110  # looking costs no time here
            await asyncio.sleep(look_s)

    async def _within(self, seconds: float, work: Awaitable[T], what: str | Callable[[], str]) -> T:
        try:
            async with asyncio.timeout(seconds):
                return await work
        except TimeoutError:
            text = what if isinstance(what, str) else what()
            raise WrongError(f"no progress within {seconds:g} s: {text}") from None

    def _is_quiet(self) -> bool:
        """Every call is answered, every pod stays or is gone, no outbox keeps anything."""
        tasks = (*self.pods, *self.kubelets.background)
        are_done = all(task.done() or self._stays(task) for task in tasks)
        if self.cluster is not None and not self.cluster.is_quiet():
            return False
        return are_done and not self.kubelets.waiting and all(n.disk.is_empty for n in self.nodes)

    def _stays(self, task: asyncio.Task[None]) -> bool:
        return task in self.kubelets.staying

    def _not_quiet(self) -> str:
        kept = [node.name for node in self.nodes if not node.disk.is_empty]
        return f"not answered: {self.kubelets.waiting}; outboxes not empty: {kept}"

    def _is_settled(self) -> bool:
        roles = sorted(engine.role for engine in self.engines)
        return roles == [Role.LEADER, *[Role.STANDBY] * (len(roles) - 1)]

    def _not_settled(self) -> str:
        return f"one engine must lead: {[(e.name, e.role) for e in self.engines]}"

    # The examination.

    async def _examine(self) -> None:
        """Ask all engines for the end of the log; hold everything against the log at leisure."""
        payloads, asked = self.stream.payloads, 0
        states: list[tuple[str, object]] = []
        while asked != len(payloads):  # an engine may take over even now
            asked = len(payloads)
            asking = asyncio.gather(*(self._state_of(machine, asked) for machine in self.engines))
            states = await self._within(_SETTLED_WITHIN_S, asking, "an engine is behind")
        audit = Audit(self.witness, self.decisions, self.book)
        audit.read(payloads)
        audit.check_attachments()
        end, digest = audit.fold.state.position, audit.fold.state.digest()
        for name, state in states:
            if state != (end, digest):
                raise WrongError(f"invariant 5: {name} has {state}, not {(end, digest)}")
        check_that_tampering_is_found(payloads, self.world.random("tampering"))
        self.world.note(f"the log ends at {end}, {len(audit.facts.live)} allocations, {digest}")

    async def _state_of(self, machine: EngineMachine, sequence: int) -> tuple[str, object]:
        """The name of an engine, and the position and digest of the state that it has then."""
        found: list[object] = []

        async def take(answer: object) -> None:
            found.append(answer)

        def look(state: State) -> object:
            return state.position, state.digest()

        while not (found and isinstance(found[-1], tuple)):
            engine = machine.engine  # one that was told to end may have given way to another
            assert engine is not None
            await engine.look(look, Position(sequence, 0), take)
            await asyncio.sleep(_LOOK_S)
        return machine.name, cast("object", found[-1])


async def _main(world: World, drawn: Plan) -> str:
    """Run and end the realm of a plan. Returns the hash of all that happened before its end."""
    realm = Realm(world, drawn)
    with mock.patch.object(commit_loop, "decide", realm.decisions.decide):
        running = world.spawn(realm.run())
        await asyncio.wait((running, world.wrong), return_when=asyncio.FIRST_COMPLETED)
        world.expect(not world.loop.errors, "; ".join(world.loop.errors[:3]))
        digest = world.digest()
        await world.end()
    return digest


def run(seed: int, tell: Tell | None = None, faults: tuple[str, ...] = ()) -> Result:
    """The run of a seed, with these kinds of faults in place of those it drew, if any are named.

    It depends on nothing else.
    """
    drawn = plan(Random(f"{seed} plan"), faults)
    order = Random(f"{seed} order") if drawn.is_permuted else None
    with _undisturbed():
        loop = SimulatedLoop(order)
        world = World(seed, loop, tell)
        world.counts["runs"] += 1
        world.note(f"seed {seed}: {drawn}")
        try:
            digest = loop.run_until_complete(loop.create_task(_main(world, drawn)))
        finally:
            loop.close()
    wrong = str(world.wrong.exception()) if world.wrong.done() else ""
    return Result(seed, wrong, tuple(world.trace), digest, world.counts, loop.now)


@contextlib.contextmanager
def _undisturbed() -> Generator[None]:
    """Garbage is collected between runs, and nothing is logged."""
    gc.disable()
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        gc.enable()
