"""What if: the recorded demand against other pools.

The log says what was asked: each address given or refused, each sandbox that ended. That demand
is decided again, in its order and at its times, by the engine's own rules, from a state in which
some resources are different. Pools that are not in the new manifests go the way they went.

A log does not hold the labels of pods, namespaces and nodes. So pools take whoever asks for them
here, whatever they select by, and whom a pool turned away by a selector does not ask it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from ipledger.engine.commands import (
    Allocate,
    AnyApply,
    AnyCommand,
    ApplyApplication,
    ApplyPool,
    ApplyReservation,
    ApplySubnet,
    DeleteApplication,
    DeletePool,
    DeleteReservation,
    DeleteSubnet,
    Release,
    ReleaseAllocation,
)
from ipledger.engine.decide import decide
from ipledger.engine.refusals import Refusal
from ipledger.engine.subnets import as_asked
from ipledger.events.clock import format_time, parse_time
from ipledger.events.commit import decode
from ipledger.events.facts import PoolSpec, Verdict
from ipledger.events.types import (
    AddressesAllocated,
    AddressesHeld,
    AddressesReleased,
    AllocationRebound,
    AllocationRefused,
    AnyEvent,
    ApplicationCreated,
    ApplicationDeleted,
    ApplicationUpdated,
    AttachmentDeleted,
    PoolCreated,
    PoolDeleted,
    PoolUpdated,
    ReservationCreated,
    ReservationDeleted,
    ReservationUpdated,
    SubnetCreated,
    SubnetDeleted,
    SubnetUpdated,
)
from ipledger.projections.allocations import Identity
from ipledger.projections.evolve import Moment as At
from ipledger.projections.evolve import evolve
from ipledger.projections.state import State
from ipledger.replay.past import Moment, Past
from ipledger.replay.why import asked_again


class PoolOutlook(msgspec.Struct, frozen=True, rename="camel"):
    """A pool over the time that was replayed: as it was recorded, and as it would have been.

    Peaks are the most addresses in use at once. `refused` counts interfaces that got no address
    for which the pool was a candidate.
    """

    pool: str
    total: int
    recorded_peak: int
    peak: int
    peak_percent: float
    peak_time: str
    recorded_refused: int
    refused: int
    first_refused: str


@dataclass(slots=True)
class _Count:
    peak: int = 0
    peak_time: int = 0
    refused: int = 0
    first_refused: int = 0


@dataclass(slots=True)
class Tally:
    """Peaks and refusals of each pool along one telling."""

    counts: dict[str, _Count] = field(default_factory=dict[str, _Count])
    _refused: set[tuple[str, Identity]] = field(default_factory=set[tuple[str, Identity]])

    def look(self, state: State, pools: Iterable[str], time: int) -> None:
        """Note how full pools are now."""
        for name in pools:
            pool = state.pools.get(name)
            if pool is None:
                continue
            count = self.counts.setdefault(name, _Count())
            if len(pool.taken) > count.peak:
                count.peak, count.peak_time = len(pool.taken), time

    def refuse(self, pools: Iterable[str], identity: Identity, time: int) -> None:
        """Note that an interface got no address; once for each pool."""
        for name in pools:
            if (name, identity) not in self._refused:
                self._refused.add((name, identity))
                count = self.counts.setdefault(name, _Count())
                count.refused += 1
                count.first_refused = count.first_refused or time


class Simulation:
    """Two tellings side by side: the recorded one, and the one with changed resources."""

    def __init__(
        self, recorded: State, changed: State, commands: Sequence[AnyApply], time: int = 0
    ) -> None:
        """Both states are the same, that of a time, and each is this object's own."""
        self._real, self._sim = recorded, changed
        self._fixed = {_named(command) for command in commands}
        self._was, self._would = Tally(), Tally()
        self._sequence = changed.position.sequence
        self._allocation_of: dict[str, str] = {a.id: a.id for a in changed.allocations.all()}
        self.refusals: list[Refusal] = []
        for pool in self._sim.pools.values():
            pool.spec = _for_all(pool.spec)
        for command in commands:
            self._do(_unselective(command), time)
        for state, tally in ((self._real, self._was), (self._sim, self._would)):
            tally.look(state, state.pools, time)

    def enter(self, event: AnyEvent, at: At) -> None:
        """Take in the next recorded event: what was asked there is asked in the other telling."""
        match event:
            case AddressesAllocated():
                self._allocate(event, at.time)
            case AllocationRefused():
                self._was.refuse(_candidates(event), (event.pod.uid, event.interface), at.time)
                self._allocate(event, at.time)
            case AllocationRebound():
                self._rebound(event, at.time)
            case AddressesHeld() | AddressesReleased():
                self._release(event, at.time)
            case AttachmentDeleted():  # of a pod that was refused, and may have been served here
                self._end(event.sandbox, event.interface, event.node, at.time)
            case _:
                command = _resource_command(event)
                if command is not None and _named(command) not in self._fixed:
                    self._do(_unselective(command), at.time)
        evolve(self._real, event, at)
        if isinstance(event, AddressesAllocated):
            self._was.look(self._real, (held.pool for held in event.addresses), at.time)

    def outlook(self) -> list[PoolOutlook]:
        """What was found, pool by pool."""
        names = sorted({*self._was.counts, *self._would.counts})
        return [self._outlook(name) for name in names]

    def _outlook(self, name: str) -> PoolOutlook:
        was = self._was.counts.get(name, _Count())
        would = self._would.counts.get(name, _Count())
        total = self._sim.pools[name].total if name in self._sim.pools else 0
        return PoolOutlook(
            name,
            total,
            was.peak,
            would.peak,
            round(100 * would.peak / total, 1) if total else 0.0,
            format_time(would.peak_time) if would.peak_time else "",
            was.refused,
            would.refused,
            format_time(would.first_refused) if would.first_refused else "",
        )

    def _allocate(self, event: AddressesAllocated | AllocationRefused, time: int) -> None:
        pools = self._asked(event)
        command = msgspec.structs.replace(
            asked_again(event),
            default_ipv4_pools=pools.get(4, ()),
            default_ipv6_pools=pools.get(6, ()),
        )
        refusal = self._do(command, time)
        identity = (event.pod.uid, event.interface)
        if refusal is not None:
            candidates = [c.pool for c in refusal.decision] or _candidates(event)
            self._would.refuse(candidates, identity, time)
            return
        allocation = self._sim.allocations.of(identity)
        if allocation is not None:
            if isinstance(event, AddressesAllocated):
                self._allocation_of[event.allocation] = allocation.id
            self._would.look(self._sim, (held.pool for held in allocation.addresses), time)

    def _asked(self, event: AddressesAllocated | AllocationRefused) -> dict[int, tuple[str, ...]]:
        """The pools that were named. Where they were the defaults, none was."""
        asked: dict[int, tuple[str, ...]] = {}
        for version in (4, 6):
            candidates = [c for c in event.decision if c.ip_version == version]
            names = sorted(c.pool for c in candidates)
            if names and names != sorted(self._real.directory.defaults[version]):
                asked[version] = tuple(
                    c.pool
                    for c in candidates
                    if c.pool in self._sim.pools and c.verdict not in _TURNED_AWAY
                )
        return asked

    def _rebound(self, event: AllocationRebound, time: int) -> None:
        live = self._sim.allocations.get(self._allocation_of.get(event.allocation, ""))
        if live is None:
            return
        pod = event.pod or live.pod
        pools: dict[int, list[str]] = {4: [], 6: []}
        for held in live.addresses:
            pools[held.terms.ip_version].append(held.pool)
        self._do(
            Allocate(
                pod=pod,
                sandbox=event.sandbox,
                interface=live.interface,
                node=event.node or live.node,
                owner=live.owner,
                default_ipv4_pools=tuple(pools[4]),
                default_ipv6_pools=tuple(pools[6]),
            ),
            time,
        )

    def _release(self, event: AddressesHeld | AddressesReleased, time: int) -> None:
        live = self._sim.allocations.get(self._allocation_of.get(event.allocation, ""))
        if live is None:
            return
        if isinstance(event, AddressesHeld) and live.sandbox:
            self._end(live.sandbox, live.interface, live.node, time)
        elif isinstance(event, AddressesReleased):
            self._do(ReleaseAllocation(allocation=live.id), time)
            del self._allocation_of[event.allocation]

    def _end(self, sandbox: str, interface: str, node: str, time: int) -> None:
        self._do(Release(sandbox=sandbox, interface=interface, node=node, fence=False), time)

    def _do(self, command: AnyCommand, time: int) -> Refusal | None:
        decision = decide(self._sim, command, time)
        self._sequence += 1
        for index, event in enumerate(decision.events):
            evolve(self._sim, event, At(self._sequence, index, time))
        if decision.refusal is not None and not isinstance(command, Allocate):
            self.refusals.append(decision.refusal)
        return decision.refusal


_TURNED_AWAY = (
    Verdict.NODE_MISMATCH,
    Verdict.NAMESPACE_MISMATCH,
    Verdict.POD_MISMATCH,
    Verdict.NETWORK_MISMATCH,
)


def _for_all(spec: PoolSpec) -> PoolSpec:
    """The pool without what it selects by."""
    return msgspec.structs.replace(
        spec,
        pod_affinity=None,
        namespace_name=(),
        namespace_affinity=None,
        node_name=(),
        node_affinity=None,
        multus_name=(),
    )


def _unselective(command: AnyCommand) -> AnyCommand:
    if isinstance(command, ApplyPool):
        return msgspec.structs.replace(command, pool=_for_all(command.pool))
    return command


def _candidates(event: AddressesAllocated | AllocationRefused) -> list[str]:
    return [candidate.pool for candidate in event.decision]


def _named(command: AnyCommand) -> tuple[str, str]:
    match command:
        case ApplyPool():
            return "pool", command.pool.name
        case DeletePool():
            return "pool", command.name
        case ApplySubnet():
            return "subnet", command.subnet.name
        case DeleteSubnet():
            return "subnet", command.name
        case ApplyReservation():
            return "reservation", command.reservation.name
        case DeleteReservation():
            return "reservation", command.name
        case ApplyApplication():
            told = command.application
            return "application", f"{told.kind} {told.namespace}/{told.name}"
        case DeleteApplication():
            return "application", f"{command.kind} {command.namespace}/{command.name}"
        case _:  # what concerns one pod or one node
            return "", ""


def _resource_command(event: AnyEvent) -> AnyCommand | None:
    """The command that an event of a resource came from."""
    match event:
        case PoolCreated() | PoolUpdated():
            return ApplyPool(pool=as_asked(event.pool)) if event.pool.auto is None else None
        case PoolDeleted():
            return DeletePool(name=event.name)
        case SubnetCreated() | SubnetUpdated():
            return ApplySubnet(subnet=event.subnet)
        case SubnetDeleted():
            return DeleteSubnet(name=event.name)
        case ReservationCreated() | ReservationUpdated():
            return ApplyReservation(reservation=event.reservation)
        case ReservationDeleted():
            return DeleteReservation(name=event.name)
        case ApplicationCreated() | ApplicationUpdated():
            return ApplyApplication(application=event.application)
        case ApplicationDeleted():
            return DeleteApplication(
                api_version=event.api_version,
                kind=event.kind,
                namespace=event.namespace,
                name=event.name,
            )
        case _:
            return None


async def replayed(
    past: Past, begin: Moment, commands: Sequence[AnyApply], progress: Callable[[int], None]
) -> Simulation:
    """A simulation from behind a position, which ends a commit, to the end of the log."""
    first, second = [await past.state(begin.position) for _ in range(2)]
    simulation = Simulation(first, second, commands, begin.time)
    async for entry in past.log.read(begin.position.sequence):
        commit = decode(entry.payload)
        time = parse_time(commit.time)
        for index, event in enumerate(commit.events):
            simulation.enter(event, At(entry.sequence, index, time))
        progress(entry.sequence)
        if entry.sequence == past.last:
            break
    return simulation
