"""The controller: watches, the log and the queue of work, put together.

One queue has the objects of all kinds. A watch and the log only say which of them to look at; what
is done about it is decided from how both are (`resource_controller`, `application_controller`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

from prometheus_client.core import Metric

from ipledger.engine.client import EngineClient, EngineUnavailableError
from ipledger.engine.metrics import table
from ipledger.engine.metrics.metric import Role
from ipledger.engine.metrics.watch_metrics import WatchMetrics
from ipledger.engine.snapshots import Snapshots
from ipledger.events import tracing
from ipledger.events.log import FollowedLog
from ipledger.events.tasks import first_to_end
from ipledger.kube import metrics, objects
from ipledger.kube.application_controller import KINDS, ApplicationController
from ipledger.kube.endpoint_controller import EndpointController
from ipledger.kube.log_view import BehindError, LogView
from ipledger.kube.objects import Face
from ipledger.kube.pool_controller import PoolController
from ipledger.kube.resource_controller import ResourceController
from ipledger.kube.touched import Touched
from ipledger.kube.work_queue import WorkQueue
from ipledger.kube.writes import Writes
from ipledger.projections.cluster.kinds import ENDPOINTS, Kind
from ipledger.projections.cluster.live.api import Api, ApiError, ApiUnreachableError
from ipledger.projections.cluster.live.watch import Watch
from ipledger.projections.cluster.metadata import Key, Metadata
from ipledger.projections.cluster.mirror import Modified, Synced
from ipledger.projections.cluster.spiderpool import Resource, SpiderEndpoint
from ipledger.projections.cluster.watch_counts import WatchCounts

_log = logging.getLogger(__name__)

_WORKERS = 8
_ABSENT_AGAIN_S = 60.0
_EXPECTED = (ApiError, ApiUnreachableError, BehindError, EngineUnavailableError)


class _Job(NamedTuple):
    """One object that wants work, by the name of its kind."""

    kind: str
    key: Key


class _One(Protocol):
    """What carries one kind."""

    def listed(self) -> None: ...


_Work: TypeAlias = Callable[[Key, str], Awaitable[None]]
"""Works on the object of a key, in the trace of a traceparent."""


@dataclass(slots=True)
class Controller:
    """Carries custom resources and workloads between an API server and the log.

    `random` gives numbers from 0 to 1; with `endpoints`, pods are shown as SpiderEndpoints. `ready`
    is set once the log is loaded and all custom resources were listed.
    """

    api: Api
    client: EngineClient
    log: FollowedLog
    snapshots: Snapshots | None
    clock: Callable[[], str]
    random: Callable[[], float]
    refused_again_s: float = 60.0
    endpoints: bool = False
    ready: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _view: LogView = field(init=False)
    _queue: WorkQueue[_Job] = field(init=False)
    _writes: Writes = field(init=False)
    _watches: dict[str, WatchCounts] = field(default_factory=dict[str, WatchCounts], init=False)
    _endpoints: EndpointController | None = field(default=None, init=False)
    _work: dict[str, _Work] = field(default_factory=dict[str, _Work], init=False)
    _resources: list[ResourceController] = field(
        default_factory=list[ResourceController], init=False
    )

    def __post_init__(self) -> None:
        self._view = LogView(self.log, self.snapshots, self._on_touched)
        self._queue = WorkQueue(self._do, _tell_failure, self.random, _EXPECTED, _measure)
        self._writes = Writes(self.api, self.clock)
        if self.endpoints:
            self._endpoints = self._endpoint_controller()
            self._view.on_pods = self._endpoints.touch
        self._resources = [
            self._resource_controller(PoolController, objects.POOLS),
            self._resource_controller(ResourceController, objects.SUBNETS),
            self._resource_controller(ResourceController, objects.RESERVATIONS),
        ]

    @property
    def waits_for(self) -> str:
        """What the controller waits for before it works, '' if for nothing."""
        if not self._view.loaded.is_set():
            return "the log is not loaded yet"
        unlisted = [one.face.kind.plural for one in self._resources if not one.watch.is_synced]
        return f"not listed yet: {', '.join(unlisted)}" if unlisted else ""

    def collect(self) -> Iterable[Metric]:
        """Its metrics as they are, but for what is counted in `kube.metrics`."""
        folded = self._view.state.position.sequence if self._view.loaded.is_set() else 0
        yield table.CONTROLLER_COMMITS.value(folded)
        yield table.CONTROLLER_QUEUE.value(len(self._queue))
        yield from WatchMetrics(Role.CONTROLLER, self._watches).collect()

    def _endpoint_controller(self) -> EndpointController:
        watch: Watch[SpiderEndpoint] = Watch(self.api, ENDPOINTS, random=self.random)
        self._watches[ENDPOINTS.plural] = watch.counts
        name = ENDPOINTS.name

        def failed(key: Key, error: Exception, pause_s: float) -> None:
            _tell_failure(_Job(name, key), error, pause_s)

        def told(key: Key, seconds: float, done: bool) -> None:
            metrics.worked(name, seconds, done=done)

        return EndpointController(
            watch, self._view, self._writes, self.random, failed, told, _EXPECTED
        )

    async def run(self) -> None:
        """Work until cancelled. Raises `BrokenLogError`."""
        await first_to_end(self._view.run(), self._run())

    async def _run(self) -> None:
        await self._view.loaded.wait()
        await first_to_end(
            self._queue.run(_WORKERS),
            *(self._watch(one.watch, one.face.kind, one) for one in self._resources),
            *(self._watch_workloads(versions) for versions in KINDS),
            *((self._endpoints.run(),) if self._endpoints is not None else ()),
        )

    def _resource_controller(
        self, made: type[ResourceController], face: Face
    ) -> ResourceController:
        watch: Watch[Resource] = Watch(self.api, face.kind, random=self.random)
        name = face.kind.name

        def later(key: str, after_s: float) -> None:
            self._later(_Job(name, Key("", key)), after_s)

        again_s = self.refused_again_s
        one = made(face, self.api, watch, self.client, self._view, self._writes, later, again_s)
        self._work[name] = lambda key, parent: one.work(key.name, parent)
        return one

    async def _watch_workloads(self, versions: tuple[Kind[Any], ...]) -> None:
        kind = await self._present(versions)
        watch: Watch[Any] = Watch(self.api, kind, random=self.random)

        def later(key: Key, after_s: float) -> None:
            self._later(_Job(kind.name, key), after_s)

        one = ApplicationController(
            kind, watch, self.client, self._view, self._writes, later, self.refused_again_s
        )
        self._work[kind.name] = one.work
        await self._watch(watch, kind, one)

    async def _present(self, versions: tuple[Kind[Any], ...]) -> Kind[Any]:
        """The first of these that the API server has; one may come with its definition later."""
        while True:
            for kind in versions:
                try:
                    await self.api.call("GET", kind.path(), query={"limit": "1"})
                    return kind
                except ApiError as error:
                    if error.status != 404:
                        _log.warning("%s: cannot be listed: %s", kind.plural, error)
                except ApiUnreachableError as error:
                    _log.warning("%s: cannot be listed: %s", kind.plural, error)
                    await asyncio.sleep(1 + self.random())
                    break
            else:
                await asyncio.sleep(_ABSENT_AGAIN_S)

    async def _watch(self, watch: Watch[Any], kind: Kind[Any], one: _One) -> None:
        self._watches[kind.plural] = watch.counts
        async for change in watch.changes():
            if isinstance(change, Synced):
                one.listed()
                self._look_ready()
            elif not (isinstance(change, Modified) and _is_same(change)):
                self._queue.add(_Job(kind.name, change.object.key))

    def _look_ready(self) -> None:
        if not self.waits_for:
            self.ready.set()

    def _on_touched(self, names: set[Touched]) -> None:
        for kind, name in sorted(names):
            self._queue.add(_Job(kind, Key("", name)))

    def _later(self, job: _Job, after_s: float) -> None:
        if after_s > 0:
            self._queue.add_later(job, after_s)
        else:
            self._queue.add(job)

    async def _do(self, job: _Job) -> None:
        with metrics.working(job.kind, job.key) as span:
            await self._work[job.kind](job.key, tracing.traceparent_of(span))


def _is_same(change: Modified[Any]) -> bool:
    """Whether nothing but the status changed, which is the controller's own."""
    return (
        isinstance(change.object, Resource)
        and change.object.spec == change.before.spec
        and _identity(change.object.metadata) == _identity(change.before.metadata)
    )


def _identity(metadata: Metadata) -> tuple[object, ...]:
    return (
        metadata.uid,
        metadata.labels,
        metadata.annotations,
        metadata.finalizers,
        metadata.deletion_timestamp,
    )


def _measure(job: _Job, seconds: float, done: bool) -> None:
    metrics.worked(job.kind, seconds, done=done)


def _tell_failure(job: _Job, error: Exception, pause_s: float) -> None:
    level = (
        logging.DEBUG if isinstance(error, ApiError) and error.status == 409 else logging.WARNING
    )
    _log.log(level, "%s %s: again in %.1f s: %s", job.kind, job.key, pause_s, error)
