"""What the runtimes were told and what they said: the truth that the log is held against."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from ipledger.events.facts import Owner, Pod
from ipledger.events.types import (
    AddressesAllocated,
    AddressesHeld,
    AddressesReleased,
    AddressQuarantined,
    AllocationRebound,
    AnyEvent,
    ApplicationCreated,
    ApplicationDeleted,
    ApplicationUpdated,
)
from simulation.world import World

Attachment: TypeAlias = tuple[str, str]
Identity: TypeAlias = tuple[str, str]


@dataclass(eq=False, slots=True)
class SimulatedPod:
    """A pod on its node. `pools4` and `pools6` are what its network configuration names.

    That of a cluster lives until it is told to stop. `is_forgotten`: its runtime then forgets it,
    and no DEL comes. `was_lost`, `is_overdue` and `is_torn_down` are kept by `Cluster`.
    """

    pod: Pod
    node: str
    owner: Owner | None = None
    interfaces: tuple[str, ...] = ("eth0",)
    pools4: tuple[str, ...] = ()
    pools6: tuple[str, ...] = ()
    is_wanted: bool = True
    is_of_cluster: bool = False
    is_forgotten: bool = False
    was_lost: bool = False
    is_overdue: bool = False
    is_torn_down: bool = False
    ending: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def uid(self) -> str:
        """The UID of its object."""
        return self.pod.uid

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.pod.namespace, self.pod.name

    def stop(self) -> None:
        """Its kubelet is to end it."""
        self.is_wanted = False
        self.ending.set()


class Told(NamedTuple):
    """An interface of a pod uses these addresses."""

    sandbox: str
    addresses: tuple[str, ...]


@dataclass(slots=True)
class Book:
    """Kept by all runtimes together. An address is used from an ADD's answer to its first DEL."""

    world: World
    live: list[SimulatedPod] = field(default_factory=list[SimulatedPod])
    told: dict[Identity, Told] = field(default_factory=dict[Identity, Told])
    users: dict[str, Identity] = field(default_factory=dict[str, Identity])
    attached: dict[str, Attachment] = field(default_factory=dict[str, Attachment])
    """Where each live allocation is used, by what has landed in the log; no sandbox where held."""
    holders: dict[str, Pod] = field(default_factory=dict[str, Pod])
    """Whose each live allocation is, by what has landed in the log."""
    over: set[str] = field(default_factory=set[str])
    """The UIDs of pods whose addresses anybody may take from here on."""
    dropped: set[str] = field(default_factory=set[str])
    """The UIDs of workloads that were deleted."""
    applications: dict[str, str] = field(default_factory=dict[str, str])
    """The UIDs of workloads, by what has landed in the log."""
    strangers: frozenset[str] = frozenset()
    """Addresses that something else on the link has."""
    deleted: dict[Attachment, bool] = field(default_factory=dict[Attachment, bool])
    """Attachments for which a DEL was sent, and whether one was answered with success."""

    def added(self, pod: Pod, interface: str, sandbox: str, addresses: tuple[str, ...]) -> None:
        """An ADD has succeeded: the addresses are used from here on, and by nobody else."""
        if pod.uid in self.over:
            return
        identity = (pod.uid, interface)
        self.world.expect(addresses, f"the ADD of {sandbox} succeeded without an address")
        has_landed = (sandbox, interface) in self.attached.values()
        self.world.expect(has_landed, f"{sandbox} {interface} was told what the log has not")
        before = self.told.get(identity)
        if before is not None:
            for address in before.addresses:
                self.users.pop(address, None)
        for address in addresses:
            ip = address.partition("/")[0]
            user = self.users.setdefault(ip, identity)
            self.world.expect(
                user == identity, f"invariant 1: {ip} was told to {user} and to {identity}"
            )
        self.told[identity] = Told(sandbox, tuple(a.partition("/")[0] for a in addresses))

    def is_no_strangers(self, addresses: tuple[str, ...]) -> None:
        """These were probed before they were handed over."""
        taken = self.strangers & {address.partition("/")[0] for address in addresses}
        self.world.expect(not taken, f"a stranger has {taken}")

    def landed(self, event: AnyEvent) -> None:
        """An event is durable: it takes no address away from a sandbox that uses it."""
        match event:
            case AddressesAllocated():
                self.attached[event.allocation] = (event.sandbox, event.interface)
                self.holders[event.allocation] = event.pod
            case AllocationRebound():
                _, interface = self.attached[event.allocation]
                self._end(event)
                self.attached[event.allocation] = (event.sandbox, interface)
                self.holders[event.allocation] = event.pod or self.holders[event.allocation]
            case AddressesHeld():
                _, interface = self.attached[event.allocation]
                self._end(event)
                self.attached[event.allocation] = ("", interface)
            case AddressesReleased():
                self._end(event)
                del self.attached[event.allocation], self.holders[event.allocation]
            case AddressQuarantined() if event.node:
                self.world.counts["conflicts"] += 1
                is_true = event.address in self.strangers
                self.world.expect(is_true, f"no stranger has {event.address}, but {event}")
            case ApplicationCreated() | ApplicationUpdated():
                self.applications[event.application.name] = event.application.uid
            case ApplicationDeleted():
                uid = self.applications.pop(event.name)
                self.world.expect(uid in self.dropped, f"{event.name} {uid} is there, but {event}")
            case _:
                pass

    def _end(self, event: AllocationRebound | AddressesHeld | AddressesReleased) -> None:
        sandbox, interface = self.attached[event.allocation]
        is_used = any(
            told.sandbox == sandbox and of == interface for (_, of), told in self.told.items()
        )
        self.world.expect(not is_used, f"invariant 7: {sandbox} {interface} is used, but {event}")

    def stopped(self, pod: Pod, interface: str, sandbox: str) -> None:
        """A sandbox is over: it does not use anything any more."""
        told = self.told.get((pod.uid, interface))
        if told is not None and told.sandbox == sandbox:
            del self.told[pod.uid, interface]
            for address in told.addresses:
                self.users.pop(address, None)

    def ends(self, uid: str) -> None:
        """A pod may lose its addresses from here on, whether it runs or not."""
        self.over.add(uid)
        for (of, interface), told in list(self.told.items()):
            if of == uid:
                del self.told[of, interface]
                for address in told.addresses:
                    self.users.pop(address, None)

    def deleting(self, pod: Pod, interface: str, sandbox: str) -> None:
        """A DEL is sent."""
        self.deleted.setdefault((sandbox, interface), False)
        self.stopped(pod, interface, sandbox)

    def has_deleted(self, interface: str, sandbox: str) -> None:
        """A DEL has succeeded."""
        self.deleted[sandbox, interface] = True

    def is_deleted(self, attachment: Attachment) -> bool:
        """Whether a DEL for an attachment has succeeded."""
        return self.deleted.get(attachment, False)
