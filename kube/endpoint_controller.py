"""SpiderEndpoints: the pods of the log, shown as objects for whoever reads Spiderpool's.

A projection and nothing else: nothing is read from an object but whether it is as it should be. An
object without a mark of ours belongs to Spiderpool; it is left unless the log has its pod.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from ipledger.events.facts import Pod
from ipledger.events.tasks import first_to_end
from ipledger.kube import metrics
from ipledger.kube.auto_objects import made_at
from ipledger.kube.endpoints import endpoint_body, endpoint_changes, endpoint_status
from ipledger.kube.log_view import BehindError, LogView
from ipledger.kube.work_queue import WorkQueue
from ipledger.kube.writes import Writes
from ipledger.projections.allocations import Allocation
from ipledger.projections.cluster.kinds import ENDPOINTS
from ipledger.projections.cluster.live.watch import Watch
from ipledger.projections.cluster.metadata import Key
from ipledger.projections.cluster.mirror import Synced
from ipledger.projections.cluster.spiderpool import SpiderEndpoint

WRITES_PER_S = 50.0
"""An API server has other work than to be told what the log knows."""

_WORKERS = 4


@dataclass(slots=True)
class EndpointController:
    """Keeps one object for each pod that has an allocation, with `writes_per_s` at most.

    `failed` is told of a key whose turn comes again, `told` of each that was worked on; `random`
    gives numbers from 0 to 1.
    """

    watch: Watch[SpiderEndpoint]
    log: LogView
    writes: Writes
    random: Callable[[], float]
    failed: Callable[[Key, Exception, float], None]
    told: Callable[[Key, float, bool], None]
    expected: tuple[type[Exception], ...]
    writes_per_s: float = WRITES_PER_S
    _uids: dict[Key, list[str]] = field(default_factory=dict[Key, list[str]], init=False)
    _queue: WorkQueue[Key] = field(init=False)
    _turn_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._queue = WorkQueue(self._traced, self.failed, self.random, self.expected, self.told)

    def touch(self, pods: set[Pod]) -> None:
        """Something of these pods changed in the log. What has no namespace is not a cluster's."""
        for pod in sorted(filter(_is_of_cluster, pods), key=_order):
            key = Key(pod.namespace, pod.name)
            self._remember(key, pod.uid)
            self._queue.add(key)

    async def run(self) -> None:
        """Work until cancelled. The log must be loaded."""
        for allocation in self.log.state.allocations.all():
            if allocation.common.namespace:
                key = Key(allocation.common.namespace, allocation.pod_name)
                self._remember(key, allocation.pod_uid)
        await first_to_end(self._queue.run(_WORKERS), self._follow())

    def _remember(self, key: Key, uid: str) -> None:
        uids = self._uids.setdefault(key, [])
        if uid not in uids:
            uids.append(uid)

    async def _follow(self) -> None:
        async for change in self.watch.changes():
            if isinstance(change, Synced):
                for key in {*self._uids, *(found.key for found in self.watch.objects)}:
                    self._queue.add(key)
            else:
                self._queue.add(change.object.key)

    async def _traced(self, key: Key) -> None:
        with metrics.working(ENDPOINTS.name, key):
            await self._work(key)

    async def _work(self, key: Key) -> None:
        if not self.watch.is_synced:
            return  # all are looked at then
        held, found = self._held(key), self.watch.objects.get(*key)
        if not held:
            await self._end(found)
            return
        at = self.log.state.position
        status = endpoint_status(self.log.state, held)
        if found is None:
            await self._turn()
            await self.writes.create(ENDPOINTS, endpoint_body(key, status, at), key.namespace)
            return
        change = endpoint_changes(status, found, at)
        if change is not None:
            await self._turn()
            await self.writes.change(ENDPOINTS, found, *change)

    def _held(self, key: Key) -> tuple[Allocation, ...]:
        """What the newest pod of a name has; pods that have nothing any more are forgotten."""
        of_pod = self.log.state.allocations.of_pod
        live = [uid for uid in self._uids.get(key, ()) if _of(key, of_pod(uid))]
        if not live:
            self._uids.pop(key, None)
            return ()
        self._uids[key] = live
        return max((_of(key, of_pod(uid)) for uid in live), key=lambda held: held[-1].bound)

    async def _end(self, found: SpiderEndpoint | None) -> None:
        """The object of a pod that has nothing goes, if it is ours and the log is read that far."""
        made = made_at(found) if found is not None else None
        if found is None or made is None:
            return
        if self.log.state.position < made:
            raise BehindError(f"{found.key} was made for a pod at {made}, which is to be read")
        await self._turn()
        await self.writes.delete(ENDPOINTS, found)

    async def _turn(self) -> None:
        """Wait for one of the writes that there may be."""
        now = asyncio.get_running_loop().time()
        self._turn_at = max(self._turn_at, now) + 1 / self.writes_per_s
        await asyncio.sleep(self._turn_at - now)


def _is_of_cluster(pod: Pod) -> bool:
    return bool(pod.namespace)


def _order(pod: Pod) -> tuple[str, str, str]:
    return pod.namespace, pod.name, pod.uid


def _of(key: Key, held: tuple[Allocation, ...]) -> tuple[Allocation, ...]:
    return tuple(one for one in held if (one.common.namespace, one.pod_name) == key)
