"""The history as users of the `eventsourcing` package would have it: an aggregate an address."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TypeAlias

import msgspec
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import StoredEvent
from eventsourcing.sqlite import SQLiteApplicationRecorder

from ipledger.events.facts import Address
from ipledger.events.types import (
    AddressesAllocated,
    AddressesHeld,
    AddressesReleased,
    AllocationRebound,
    AnyEvent,
)
from ipledger.replay.past import Past

NAMESPACE = uuid.UUID(int=0)
_STORED_AT_ONCE = 500

Facts: TypeAlias = "dict[str, str] | None"


class HeldAddress(Aggregate):
    """An address as the package's users would model it: it knows who holds it, and no more.

    Its events have the facts of ours, but for the decision, the trace and the times of the steps.
    """

    @event("Began")
    def __init__(self, pool: str, address: str, gateway: str) -> None:
        self.pool, self.address, self.gateway = pool, address, gateway

    @event("Taken")
    def take(self, allocation: str, pod: Facts, owner: Facts, node: str, sandbox: str) -> None:
        """An interface of a pod holds it from here on."""
        self.allocation, self.pod, self.owner = allocation, pod, owner
        self.node, self.sandbox = node, sandbox

    @event("Rebound")
    def rebind(self, pod: Facts, node: str, sandbox: str) -> None:
        """Another sandbox has it."""
        self.pod, self.node, self.sandbox = pod or self.pod, node or self.node, sandbox

    @event("Held")
    def hold(self, sandbox: str) -> None:
        """It is kept for the next pod."""
        self.sandbox = ""

    @event("Freed")
    def free(self, sandbox: str, reason: str, evidence: str) -> None:
        """Nobody holds it."""
        self.allocation, self.sandbox = "", ""


class Model:
    """Our events told to aggregates of the package, kept in a file of its own."""

    def __init__(self, path: Path) -> None:
        kept = {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(path)}
        self._app: Application[uuid.UUID] = Application(env=kept)
        self._addresses: dict[str, HeldAddress] = {}
        self._live: dict[str, list[HeldAddress]] = {}

    def tell(self, told: AnyEvent) -> None:
        """Have the addresses of an event know of it; other events are left out."""
        match told:
            case AddressesAllocated():
                pod, owner = msgspec.to_builtins(told.pod), msgspec.to_builtins(told.owner)
                held = self._live[told.allocation] = [self._of(a) for a in told.addresses]
                for address in held:
                    address.take(told.allocation, pod, owner, told.node, told.sandbox)
            case AllocationRebound():
                for address in self._live[told.allocation]:
                    address.rebind(msgspec.to_builtins(told.pod), told.node, told.sandbox)
            case AddressesHeld():
                for address in self._live[told.allocation]:
                    address.hold(told.sandbox)
            case AddressesReleased():
                for address in self._live.pop(told.allocation):
                    address.free(told.sandbox, told.reason, told.evidence)
            case _:
                pass

    def saved(self) -> list[uuid.UUID]:
        """Store all of them, and let go of them."""
        for address in self._addresses.values():
            self._app.save(address)
        made = [address.id for address in self._addresses.values()]
        self._addresses.clear()
        self._live.clear()
        return made

    async def read_back(self, made: list[uuid.UUID]) -> None:
        """Make them again of what is stored."""
        for originator in made:
            self._app.repository.get(originator)

    def _of(self, fact: Address) -> HeldAddress:
        known = self._addresses.get(fact.address)
        if known is None:
            known = self._addresses[fact.address] = HeldAddress(
                fact.pool, fact.address, fact.gateway
            )
        return known


async def record(recorder: SQLiteApplicationRecorder, past: Past) -> int:
    """Store each interval of a history as events of its address. Returns how many."""
    versions: dict[str, int] = {}
    waiting: list[StoredEvent] = []
    rows = await past.store.query(
        "SELECT address, namespace, pod, uid, node, from_position, to_position FROM intervals"
        " ORDER BY id"
    )
    count = 0
    for address, namespace, pod, uid, node, begin, end in rows:
        for position, holder in ((begin, [namespace, pod, uid, node]), (end, None)):
            if position is None:
                continue
            version = versions[address] = versions.get(address, 0) + 1
            state = json.dumps({"position": position, "holder": holder}).encode()
            originator = uuid.uuid5(NAMESPACE, address)
            waiting.append(StoredEvent(originator, version, "held", state))
            count += 1
            if len(waiting) == _STORED_AT_ONCE:
                recorder.insert_events(waiting)
                waiting.clear()
    recorder.insert_events(waiting)
    return count
