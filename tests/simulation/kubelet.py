"""Kubelets and runtimes, as rough as real ones.

A runtime that loses its patience with an ADD kills the plugin, but the call lives on in the agent:
the DEL then overtakes it. A failed ADD is followed by a DEL, and tried again with another container
id. A sandbox is deleted once or several times, at once or later, before or after the next sandbox
of the same pod is added; sometimes, where the DEL fails too, never again (containerd 1.7).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
from multidict import CIMultiDict

from ipledger.cni.errors import Code
from simulation.book import Book, SimulatedPod
from simulation.machines import Headers, NodeMachine, Outcome
from simulation.world import World

_encode = msgspec.json.Encoder().encode
_ADD_PATIENCE_S = (0.3, 1.0, 3.0, 30.0)
_DEL_PATIENCE_S = 12.0
_BACKOFF_S = 1.5


@dataclass(eq=False, slots=True)
class Kubelets:
    """The kubelets of all nodes. `calm` is set once no more is to go wrong."""

    world: World
    nodes: dict[str, NodeMachine]
    book: Book
    calm: asyncio.Event
    is_forgetful: bool = False
    """Whether a sandbox whose ADD and DEL both failed is forgotten."""
    on_up: Callable[[SimulatedPod], None] = lambda pod: None
    """Told of each sandbox that runs."""
    random: Random = field(init=False)
    sandboxes: int = 0
    waiting: dict[str, float] = field(default_factory=dict[str, float])
    """The calls that were not answered yet, and since when."""
    staying: set[asyncio.Task[None] | None] = field(
        default_factory=set["asyncio.Task[None] | None"]
    )
    """Pods that are left running."""
    background: list[asyncio.Task[None]] = field(default_factory=list["asyncio.Task[None]"])

    def __post_init__(self) -> None:
        self.random = self.world.random("kubelet")

    async def live(self, pod: SimulatedPod, lifetime_s: float) -> None:
        """The life of a pod: it is gone for its kubelet when this returns."""
        dies_at = self.world.loop.time() + lifetime_s
        ending: list[asyncio.Task[None]] = []
        while pod.is_wanted:
            self.sandboxes += 1
            sandbox = f"s{self.sandboxes}"
            life = self.nodes[pod.node].starts
            is_up = await self._run_sandbox(pod, sandbox)
            if is_up:
                self.on_up(pod)
                await self._wait_for_end(pod, dies_at)
            pod.is_wanted = pod.is_wanted and self.world.loop.time() < dies_at
            if not is_up and self.calm.is_set() and not pod.is_of_cluster:
                pod.is_wanted = False
            if is_up and pod.is_wanted and self.random.random() < 0.5:
                ending.append(self._later(self._end_sandbox(pod, sandbox)))
            else:
                await self._end_sandbox(pod, sandbox, added_in=0 if is_up else life)
            if pod.is_wanted:
                await asyncio.sleep(self.random.random() * _BACKOFF_S)
        if ending:  # a pod is there until its last sandbox has ended
            await asyncio.wait(ending)

    async def _wait_for_end(self, pod: SimulatedPod, dies_at: float) -> None:
        """Until the pod is to go, or its sandbox has died for no reason."""
        if pod.is_of_cluster:
            await self._wait_to_be_told(pod)
            return
        left_s = dies_at - self.world.loop.time()
        if self.random.random() < 0.3:
            left_s *= self.random.random()
        elif self.random.random() < 0.15:
            await self.calm.wait()
            pod.is_wanted = self.random.random() < 0.5
            if pod.is_wanted:
                self.staying.add(asyncio.current_task())
                await asyncio.get_running_loop().create_future()
        await asyncio.sleep(max(0.0, left_s))

    async def _wait_to_be_told(self, pod: SimulatedPod) -> None:
        """Until the pod is told to end, or its sandbox has died for no reason."""
        dies = not self.calm.is_set() and self.random.random() < 0.3
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.random.random() * 3 if dies else None):
                await pod.ending.wait()

    def _later(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self.world.spawn(work)
        self.background.append(task)
        return task

    async def _run_sandbox(self, pod: SimulatedPod, sandbox: str) -> bool:
        for interface in pod.interfaces:
            patience_s = self.random.choice(_ADD_PATIENCE_S)
            outcome = await self._call("ADD", pod, sandbox, interface, patience_s)
            if outcome is None or outcome.code:
                return False
            if pod.owner is None and self.nodes[pod.node].starts == 1:
                self.book.is_no_strangers(outcome.addresses)
            self.book.added(pod.pod, interface, sandbox, outcome.addresses)
            if self.random.random() < 0.2:
                await self._check(pod, sandbox, interface, outcome.addresses)
        return True

    async def _check(
        self, pod: SimulatedPod, sandbox: str, interface: str, addresses: tuple[str, ...]
    ) -> None:
        """CHECK what was added just now: an agent that still lives reads what it wrote."""
        life = self.nodes[pod.node].starts
        outcome = await self._call("CHECK", pod, sandbox, interface, 30.0, addresses)
        is_same_life = self.nodes[pod.node].starts == life and pod.uid not in self.book.over
        if is_same_life and outcome is not None and outcome.code not in (0, Code.TRY_AGAIN_LATER):
            self.world.fail(f"CHECK of {sandbox} {interface} failed: {outcome}")

    async def _end_sandbox(self, pod: SimulatedPod, sandbox: str, *, added_in: int = 0) -> None:
        """DELs until each interface had one that succeeded, and now and then some more.

        A sandbox whose ADD failed may be forgotten when its DEL fails too, but not where its agent
        has died since: nothing would end an ADD that is still under way (docs/simulator.md).
        """
        for interface in pod.interfaces:
            self.book.stopped(pod.pod, interface, sandbox)
        if pod.is_forgotten and not added_in:
            self.world.note(f"{sandbox} is forgotten")
            return
        for interface in pod.interfaces:
            while not await self._delete(pod, sandbox, interface):
                node = self.nodes[pod.node]
                is_same_life = node.running is not None and node.starts == added_in
                if is_same_life and self.is_forgetful and self.random.random() < 0.5:
                    self.world.note(f"{sandbox} {interface} is forgotten")
                    break
                await asyncio.sleep(self.random.random() * _BACKOFF_S)
            for _ in range(self.random.choice((0, 0, 0, 1, 2))):
                self._later(self._delete_late(pod, sandbox, interface))

    async def _delete_late(self, pod: SimulatedPod, sandbox: str, interface: str) -> None:
        await asyncio.sleep(self.random.choice((0.0, 0.01, 1.0, 8.0)) * self.random.random())
        await self._delete(pod, sandbox, interface)

    async def _delete(self, pod: SimulatedPod, sandbox: str, interface: str) -> bool:
        self.book.deleting(pod.pod, interface, sandbox)
        outcome = await self._call("DEL", pod, sandbox, interface, _DEL_PATIENCE_S)
        if outcome is None or outcome.code:
            return False
        self.book.has_deleted(interface, sandbox)
        return True

    async def _call(
        self,
        command: str,
        pod: SimulatedPod,
        sandbox: str,
        interface: str,
        patience_s: float,
        told: tuple[str, ...] = (),
    ) -> Outcome | None:
        """A CNI call. None when the runtime lost its patience: the call lives on in the agent."""
        world = self.world
        world.counts[command] += 1
        name = f"{command}#{world.counts[command]} {pod.pod.uid} {sandbox} {interface}"
        world.note(f"{pod.node}: {name}")
        self.waiting[name] = world.loop.time()
        calling = world.spawn(
            self.nodes[pod.node].call(_headers(command, pod, sandbox, interface), _body(pod, told))
        )
        await asyncio.wait((calling,), timeout=patience_s)
        if not calling.done():
            world.note(f"{pod.node}: {name}: no more patience")
            calling.add_done_callback(lambda _: self._answered(name))
            return None
        self._answered(name)
        outcome: Outcome = calling.result()
        text = f"{outcome.code} {outcome.text}" if outcome.code else " ".join(outcome.addresses)
        world.note(f"{pod.node}: {name}: {text or 'ok'}")
        world.counts["answered" if outcome.code != Code.TRY_AGAIN_LATER else "unavailable"] += 1
        return outcome

    def _answered(self, name: str) -> None:
        self.waiting.pop(name, None)


def _headers(command: str, pod: SimulatedPod, sandbox: str, interface: str) -> Headers:
    facts = pod.pod
    args = f"K8S_POD_NAMESPACE={facts.namespace};K8S_POD_NAME={facts.name};K8S_POD_UID={facts.uid}"
    environment = {
        "Cni-Command": command,
        "Cni-Containerid": sandbox,
        "Cni-Ifname": interface,
        "Cni-Netns": "/var/run/netns/x",
        "Cni-Args": args,
    }
    return CIMultiDict(environment)


def _body(pod: SimulatedPod, told: tuple[str, ...]) -> bytes:
    ipam = {
        "type": "ipledger",
        "default_ipv4_ippool": pod.pools4,
        "default_ipv6_ippool": pod.pools6,
    }
    body: dict[str, object] = {"cniVersion": "1.0.0", "name": "net", "ipam": ipam}
    if pod.owner is not None:
        body["args"] = {"cni": {"owner": pod.owner}}
    if told:
        body["prevResult"] = {"ips": [{"address": address} for address in told]}
    return _encode(body)
