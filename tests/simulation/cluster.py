"""A simulated cluster: pods and their nodes as objects, and whoever makes, ends and loses them.

A pod uses its addresses while its sandbox runs and its object says that it may: `Book.ends` is
told as soon as anybody may take them away. That is when the object is gone, or has ended, or its
grace is over while nobody hears its kubelet (ADR 52).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import Any

from ipledger.events.clock import format_time
from ipledger.events.facts import Application, Owner, Pod
from simulation.apiserver import ApiServer, Mood
from simulation.book import Book, SimulatedPod
from simulation.etcd import Etcd, Key, Object
from simulation.kubelet import Kubelets
from simulation.world import NOON, World

NAMESPACE = "shop"
CART: Key = (NAMESPACE, "cart")
PROXY: Key = ("kube-system", "kube-proxy")
"""A pod that is always there."""
_PODS, _NODES, _SETS = "pods", "nodes", "statefulsets"
_STATUS_LATE_S = 0.5
_GRACES_S = (0, 1, 4)
_ENDINGS = ("graceful", "graceful", "forced", "completed", "evicted", "lingering")


def uid(number: int) -> str:
    """A UID such as API servers give."""
    return f"{number:08x}-0000-4000-8000-000000000000"


@dataclass(eq=False, slots=True)
class Cluster:
    """The cluster of one run. `lives` are the pods by UID that some kubelet may run."""

    world: World
    book: Book
    kubelets: Kubelets
    named4: tuple[str, ...]
    named6: tuple[str, ...]
    interfaces: tuple[str, ...]
    lifetime_s: float
    read_lag_s: float
    calm: asyncio.Event
    etcd: Etcd = field(init=False)
    server: ApiServer = field(init=False)
    random: Random = field(init=False)
    lives: dict[str, SimulatedPod] = field(default_factory=dict[str, SimulatedPod])
    lost: set[str] = field(default_factory=set[str])
    """Nodes whose kubelets nobody hears."""
    ending: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    has_forgotten: bool = False
    made: int = 0

    def __post_init__(self) -> None:
        self.etcd = Etcd(self.world)
        self.random = self.world.random("cluster")
        self.server = ApiServer(self.etcd, self.world.random("api server"))
        self.kubelets.on_up = self._is_up
        self.etcd.write(_PODS, PROXY, _body(uid(0), "node-0", 30))
        for node in self.kubelets.nodes:
            self.hear(node)

    # The lives of pods.

    async def keep(self, name: str, owner: Owner | None) -> None:
        """One pod after another of that name, as fast as it goes; at last one that stays, or none.

        Of a StatefulSet's pods, no two run at a time.
        """
        key = (NAMESPACE, name)
        while not self.calm.is_set():
            if self.etcd.get(_PODS, key) is not None:
                await asyncio.sleep(0.05)
                continue
            pod = self._make(key, owner)
            running = self.world.spawn(self._run(pod))
            lifetime_s = self.random.random() * self.lifetime_s
            await self._until_it_ends(pod, lifetime_s)
            if self._stays(pod):
                return
            ending = self.world.spawn(self._end(pod, running))
            self.ending.add(ending)
            if owner is not None:  # whoever forces a StatefulSet's pod away says that it is dead
                await asyncio.wait((running,))

    def _stays(self, pod: SimulatedPod) -> bool:
        found, is_up = self._object(pod), (pod.uid, pod.interfaces[-1]) in self.book.told
        is_wanted = found is not None and "deletionTimestamp" not in found["metadata"]
        return self.calm.is_set() and is_wanted and is_up and self.random.random() < 0.5

    async def _until_it_ends(self, pod: SimulatedPod, lifetime_s: float) -> None:
        try:
            async with asyncio.timeout(lifetime_s):
                await pod.ending.wait()
        except TimeoutError:
            pass

    def _make(self, key: Key, owner: Owner | None) -> SimulatedPod:
        self.made += 1
        names = [name for name in self.kubelets.nodes if name not in self.lost]
        node = self.random.choice(names or list(self.kubelets.nodes))
        pod = SimulatedPod(
            Pod(*key, uid(self.made)),
            node,
            owner,
            self.interfaces,
            self.named4,
            self.named6,
            is_of_cluster=True,
        )
        self.lives[pod.uid] = pod
        self.book.live.append(pod)
        self.etcd.write(_PODS, key, _body(pod.uid, node, self.random.choice(_GRACES_S)))
        return pod

    async def _run(self, pod: SimulatedPod) -> None:
        await self.kubelets.live(pod, float("inf"))
        self.lives.pop(pod.uid, None)
        at = self.world.loop.time() + 10.0  # it may have come back with an old state of everything
        self.world.at(at, self._collect_ghost, pod.key, pod.uid)

    def _is_up(self, pod: SimulatedPod) -> None:
        """Its sandbox runs: its kubelet says so a little later."""
        late_s = self.random.random() * _STATUS_LATE_S
        at = self.world.loop.time() + late_s
        self.world.at(at, self._say, pod, {"phase": "Running", "podIPs": [{"ip": "10.9.9.9"}]})

    def _say(self, pod: SimulatedPod, status: Object) -> None:
        found = self._object(pod)
        if found is not None and pod.node not in self.lost and not pod.is_torn_down:
            self.etcd.write(_PODS, pod.key, {**found, "status": status})

    async def _end(self, pod: SimulatedPod, running: asyncio.Task[Any]) -> None:
        """A pod ends in one of the ways in which pods end. Its DELs may never come."""
        way = self.random.choice(_ENDINGS)
        pod.is_forgotten = self.random.random() < 0.4
        self.world.note(f"{pod.uid} ends: {way}{', forgotten' if pod.is_forgotten else ''}")
        if way == "forced":
            self.remove(pod)
            await asyncio.sleep(self.random.random() * 3)
            pod.stop()
            await asyncio.wait((running,))
            return
        if way in ("completed", "evicted"):
            await self._is_heard(pod)
            self._finish(pod, "Succeeded" if way == "completed" else "Failed")
        else:
            self.delete(pod)
            await self._is_heard(pod)
            await asyncio.sleep(self.random.random() * 2)
        pod.stop()
        await asyncio.wait((running,))
        await self._is_heard(pod)
        self._tear_down(pod, is_told=way != "graceful")
        if way != "graceful":
            await asyncio.sleep(self.random.random() * 6)
        self.remove(pod)

    async def _is_heard(self, pod: SimulatedPod) -> None:
        while pod.node in self.lost and self._is_there(pod):  # noqa: ASYNC110
            await asyncio.sleep(0.1)

    def _finish(self, pod: SimulatedPod, phase: str) -> None:
        """All its containers have ended."""
        pod.is_torn_down = True
        found = self._object(pod)
        if found is not None:
            status = {"phase": phase, "containerStatuses": [_ended(self._now())]}
            if phase == "Failed":
                status["reason"] = "Evicted"
            self.etcd.write(_PODS, pod.key, {**found, "status": status})
        self.book.ends(pod.uid)

    def _tear_down(self, pod: SimulatedPod, *, is_told: bool) -> None:
        """Its sandbox is gone, and its kubelet may say so."""
        self.book.ends(pod.uid)
        found = self._object(pod)
        pod.is_torn_down = True
        if found is not None and is_told and found["status"]["phase"] == "Running":
            status = {"phase": "Running", "containerStatuses": [_ended(self._now())]}
            self.etcd.write(_PODS, pod.key, {**found, "status": status})

    # Objects.

    def _object(self, pod: SimulatedPod) -> Object | None:
        """The pod's own object."""
        found = self.etcd.get(_PODS, pod.key)
        return found if found is not None and found["metadata"]["uid"] == pod.uid else None

    def _is_there(self, pod: SimulatedPod) -> bool:
        return self._object(pod) is not None

    def _now(self) -> int:
        return NOON + int(self.world.loop.time() * 1e6)

    def delete(self, pod: SimulatedPod) -> None:
        """Somebody asks for its deletion: it has its grace from now on."""
        found = self._object(pod)
        if found is None or "deletionTimestamp" in found["metadata"]:
            return
        grace_s = found["spec"]["terminationGracePeriodSeconds"]
        over = self._now() + grace_s * 1_000_000
        metadata = {**found["metadata"], "deletionTimestamp": format_time(over)[:19] + "Z"}
        self.etcd.write(_PODS, pod.key, {**found, "metadata": metadata})
        pod.was_lost = pod.node in self.lost
        self.world.at(self.world.loop.time() + grace_s - 1, self._grace_is_over, pod)

    def _grace_is_over(self, pod: SimulatedPod) -> None:
        """Now it counts who is heard: an API server's times have no fraction of a second."""
        pod.is_overdue = True
        found = self._object(pod)
        is_reported = found is not None and "podIPs" in found.get("status", {})
        if pod.was_lost or not is_reported:
            self.book.ends(pod.uid)

    def remove(self, pod: SimulatedPod) -> None:
        """Its object goes."""
        if self._is_there(pod):
            self.etcd.write(_PODS, pod.key, None)
        self.book.ends(pod.uid)

    # Nodes.

    def lose(self, node: str) -> None:
        """Nobody hears its kubelet any more; its pods run on."""
        self.lost.add(node)
        self.etcd.write(_NODES, ("", node), _node("Unknown"))
        for pod in list(self.lives.values()):
            if pod.node == node:
                pod.was_lost = True
                if pod.is_overdue:
                    self.book.ends(pod.uid)

    def hear(self, node: str) -> None:
        """Its kubelet is heard, for the first time or again."""
        self.lost.discard(node)
        self.etcd.write(_NODES, ("", node), _node("True"))
        for pod in self.lives.values():
            if pod.node == node:
                found = self._object(pod)
                pod.was_lost = found is not None and "deletionTimestamp" in found["metadata"]
                if found is None:
                    self._stop_late(pod)

    def drop_node(self, node: str) -> None:
        """Its object goes, and with it, a moment later, the objects of its pods."""
        if self.etcd.get(_NODES, ("", node)) is not None:
            self.etcd.write(_NODES, ("", node), None)
        for pod in list(self.lives.values()):
            if pod.node == node:
                self.remove(pod)

    # Everything.

    def drop_namespace(self) -> None:
        """The namespace goes, with all that is in it."""
        self.drop_set()
        for pod in list(self.lives.values()):
            self.remove(pod)
            pod.stop()

    def restore(self, seconds: float, *, bumped: bool) -> None:
        """etcd is put back. What it does not know of any more ends; what comes back goes again."""
        before = self.application()
        self.etcd.restore(self.world.loop.time() - seconds, bumped=bumped)
        if before is not None and before != self.application():
            self.book.dropped.add(before.uid)
        self.server.break_watches()
        for pod in list(self.lives.values()):
            if not self._is_there(pod):
                self.book.ends(pod.uid)
                self._stop_late(pod)
        for key, found in self.etcd.all(_PODS).items():
            late_s = self.random.random() * 3
            if key[0] == NAMESPACE and found["metadata"]["uid"] not in self.lives:
                at = self.world.loop.time() + late_s
                self.world.at(at, self._collect_ghost, key, found["metadata"]["uid"])
        for node in self.kubelets.nodes:
            (self.lose if node in self.lost else self.hear)(node)

    def _stop_late(self, pod: SimulatedPod) -> None:
        """Its kubelet notices a little later that it is to end."""
        self.world.at(self.world.loop.time() + self.random.random() * 3, pod.stop)

    def _collect_ghost(self, key: Key, uid: str) -> None:
        found = self.etcd.get(_PODS, key)
        if found is not None and found["metadata"]["uid"] == uid:
            self.etcd.write(_PODS, key, None)

    def forget_versions(self) -> None:
        """No watch goes on from any version that it knows."""
        known = self.etcd.get(_PODS, PROXY)
        assert known is not None, "it is always there"
        self.etcd.write(_PODS, PROXY, known)
        self.etcd.compacted = self.etcd.revision
        self.server.break_watches()

    # The end.

    def heal(self) -> None:
        """All its faults end."""
        self.server.mood = Mood()
        for node in list(self.kubelets.nodes):
            self.hear(node)

    def is_quiet(self) -> bool:
        """Whether every pod that is there stays, and whoever ends has ended."""
        objects = self.etcd.all(_PODS)
        theirs = {o["metadata"]["uid"] for k, o in objects.items() if k[0] == NAMESPACE}
        return all(task.done() for task in self.ending) and theirs == set(self.lives)

    def leaks(self) -> list[str]:
        """The allocations whose pods are not there and whose places are not either."""
        return [
            f"{allocation} of {pod.name} {pod.uid}"
            for allocation, pod in self.book.holders.items()
            if pod.uid not in self.lives and not self.has_place(pod)
        ]

    def has_place(self, pod: Pod) -> bool:
        """Whether a StatefulSet wants a pod of that name."""
        found = self.etcd.get(_SETS, CART)
        if found is None or not pod.name.startswith("cart-"):
            return False
        return bool(int(pod.name.removeprefix("cart-")) < found["spec"]["replicas"])

    def scale(self, replicas: int) -> None:
        """The StatefulSet has that many pods from now on; it is made if it is not there."""
        found = self.etcd.get(_SETS, CART)
        if found is None:
            self.made += 1
        its = found["metadata"]["uid"] if found else uid(self.made)
        self.etcd.write(_SETS, CART, {"metadata": {"uid": its}, "spec": {"replicas": replicas}})

    def drop_set(self) -> None:
        """The StatefulSet is deleted."""
        found = self.etcd.get(_SETS, CART)
        if found is not None:
            self.book.dropped.add(found["metadata"]["uid"])
            self.etcd.write(_SETS, CART, None)

    def application(self) -> Application | None:
        """The StatefulSet as its controller tells of it."""
        found = self.etcd.get(_SETS, CART)
        if found is None:
            return None
        its, replicas = found["metadata"]["uid"], found["spec"]["replicas"]
        return Application("apps/v1", "StatefulSet", *CART, its, replicas=replicas)


def _body(uid: str, node: str, grace_s: int) -> Object:
    spec = {"nodeName": node, "terminationGracePeriodSeconds": grace_s}
    return {"metadata": {"uid": uid}, "spec": spec, "status": {"phase": "Pending"}}


def _node(ready: str) -> Object:
    return {
        "metadata": {"uid": "n"},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def _ended(now: int) -> Object:
    return {"state": {"terminated": {"finishedAt": format_time(now)}}}
