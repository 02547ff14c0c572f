"""A small cluster with an engine, for tests of the collector.

A real nats-server, a real engine, and the API server double. Time goes by as a test says: the
clock of engine and collector is the wall's and what was added.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from ipledger.engine.client import EngineClient
from ipledger.engine.commands import Allocate
from ipledger.engine.queries import AllocationsWhere
from ipledger.events import commit
from ipledger.events.facts import Owner, Pod
from ipledger.events.log import Log
from ipledger.events.types import AnyEvent
from ipledger.gc.collector import Collector
from ipledger.gc.report import Report
from ipledger.gc.settings import Settings
from ipledger.gc.view import View
from ipledger.projections.cluster import kinds
from ipledger.projections.cluster.live.api import Api
from ipledger.projections.cluster.live.pauses import Pauses
from ipledger.projections.cluster.live.watch import Watch
from ipledger.projections.rows import AllocationRow
from support.apiserver import ApiServer

NAMESPACE = "default"


@dataclass
class ShiftedClock:
    """The wall clock and what a test added, in microseconds."""

    shift: int = 0

    def __call__(self) -> int:
        return time.time_ns() // 1000 + self.shift

    def pass_seconds(self, seconds: float) -> None:
        self.shift += round(seconds * 1_000_000)


def quick_view(api: Api) -> View:
    """A view that tries again at once."""

    def watch(kind: Any) -> Watch[Any]:
        pauses = Pauses(lambda: 0.5, first_s=0.01, longest_s=0.05)
        return Watch(api, kind, random=lambda: 0.5, pauses=pauses)

    return View(api, watch(kinds.PODS), watch(kinds.NODES), lambda: 0.5)


@dataclass
class Field:
    """What a test acts on."""

    server: ApiServer
    api: Api
    engine: EngineClient
    clock: ShiftedClock
    log: Log
    _sandboxes: int = field(default=0, init=False)

    def node(self, name: str = "n1", ready: str = "True") -> None:
        """A node, or another state of one that is there."""
        status = {"conditions": [{"type": "Ready", "status": ready}]}
        if self.server.store.get("nodes", ("", name)) is None:
            self.server.create("v1", "nodes", {"metadata": {"name": name}})
        self.server.change("nodes", name, status=status)

    def pod(self, name: str, phase: str = "Running", node: str = "n1", **metadata: Any) -> Pod:
        """A pod that a kubelet runs."""
        body = {"metadata": {**metadata, "name": name}, "spec": {"nodeName": node}}
        made = self.server.create("v1", "pods", body, NAMESPACE)
        self.status(name, phase=phase, podIPs=[{"ip": "10.1.0.10"}])
        return Pod(NAMESPACE, name, made["metadata"]["uid"])

    def status(self, name: str, **status: Any) -> None:
        """What the kubelet says of a pod."""
        self.server.change("pods", name, NAMESPACE, status=status)

    def delete(self, name: str) -> None:
        """A pod's object goes at once; no DEL comes."""
        self.server.delete("pods", name, NAMESPACE)

    async def add(
        self, pod: Pod, interface: str = "eth0", owner: Owner | None = None, **more: Any
    ) -> AllocationRow:
        """An ADD for a pod, in a new sandbox."""
        self._sandboxes += 1
        node = more.pop("node", "n1")
        command = Allocate(
            pod=pod,
            sandbox=f"sandbox-{self._sandboxes}",
            interface=interface,
            node=node,
            owner=owner,
            **more,
        )
        return (await self.engine.allocate(command)).allocation

    async def zombies(self, count: int) -> list[Pod]:
        """Allocations whose pods are gone."""
        gone = [self.pod(f"gone-{number}") for number in range(count)]
        for pod in gone:
            await self.add(pod)
            self.delete(pod.name)
        return gone

    async def held(self) -> list[str]:
        """The pods that have allocations, one name for each allocation."""
        pages = self.engine.allocations(AllocationsWhere())
        return sorted([row.pod async for page in pages for row in page.allocations])

    async def events(self) -> list[AnyEvent]:
        """All events of the log."""
        entries = [entry async for entry in self.log.read(0)]
        return [event for entry in entries for event in commit.decode(entry.payload).events]

    def collector(self, **settings: Any) -> Collector:
        """A collector with a view of its own, not synced."""
        view = quick_view(self.api)
        return Collector(self.engine, view, Settings(**settings), self.clock)

    async def compare(self, collector: Collector | None = None, **how: Any) -> Report:
        """One full comparison with fresh lists."""
        made = collector or self.collector()
        await made.view.sync(30)
        return await made.compare(**how)
