"""Workloads: those that matter to the engine are told to it, and those that are gone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from ipledger.engine.applications import as_known
from ipledger.engine.client import EngineClient, RefusedError
from ipledger.engine.commands import ApplyApplication, DeleteApplication
from ipledger.engine.refusals import Reason
from ipledger.engine.subnet_annotations import SUBNET, SUBNETS
from ipledger.events.facts import Application
from ipledger.kube.log_view import LogView
from ipledger.kube.workloads import told_of
from ipledger.kube.writes import Writes
from ipledger.projections.applications import ApplicationKey, application_key
from ipledger.projections.cluster import kinds
from ipledger.projections.cluster.kinds import Kind
from ipledger.projections.cluster.live.watch import Watch
from ipledger.projections.cluster.metadata import Key
from ipledger.projections.cluster.workloads import Workload

_log = logging.getLogger(__name__)

KINDS: tuple[tuple[Kind[Workload], ...], ...] = (
    (kinds.DEPLOYMENTS,),
    (kinds.STATEFUL_SETS,),
    (kinds.DAEMON_SETS,),
    (kinds.REPLICA_SETS,),
    (kinds.JOBS,),
    (kinds.CRON_JOBS, kinds.CRON_JOBS_BETA),
    (kinds.MACHINES,),
)
"""The kinds that are watched; of several versions the first that the API server has."""

_KEEP_ADDRESSES = (kinds.STATEFUL_SETS, kinds.MACHINES)
_LEAD_ON = (kinds.REPLICA_SETS, kinds.JOBS)
_GONE = (Reason.APPLICATION_UNKNOWN, Reason.APPLICATION_CHANGED)


def application_of(kind: Kind[Workload], found: Workload) -> Application | None:
    """A workload as the engine is told of it, None for one that does not matter to it.

    Those matter whose pods keep their addresses, and those that ask for auto pools; but for a
    ReplicaSet or Job that has a controller, of which it is a part.
    """
    metadata = found.metadata
    if kind in _LEAD_ON and metadata.controller is not None:
        return None
    annotations = found.spec.template.annotations
    if kind not in _KEEP_ADDRESSES and not (SUBNETS in annotations or SUBNET in annotations):
        return None
    return told_of(kind, found)


@dataclass(slots=True)
class ApplicationController:
    """Tells the engine of one kind of workloads. `later(key, seconds)` has `work(key)` called."""

    kind: Kind[Workload]
    watch: Watch[Workload]
    client: EngineClient
    log: LogView
    writes: Writes
    later: Callable[[Key, float], None]
    refused_again_s: float
    _told: dict[Key, str] = field(default_factory=dict[Key, str], init=False)
    _refused: dict[Key, str] = field(default_factory=dict[Key, str], init=False)

    async def work(self, key: Key, parent: str = "") -> None:
        """Compare a workload with the log, and tell the engine what is new, in a trace."""
        found = self.watch.objects.get(*key)
        application = application_of(self.kind, found) if found is not None else None
        if found is None:
            await self._gone(key, parent)
        elif application is None:
            await self._matters_no_more(key, parent)
        elif as_known(application) != self._known(key):
            await self._apply(key, found, application, parent)

    def listed(self) -> None:
        """All were listed: those that only the log knows are gone, unless they came by hand."""
        for found in self.watch.objects:
            self.later(found.key, 0)
        mine = self._key(Key("", ""))
        for key, application in self.log.state.applications.items():
            of_mine = (key.group, key.kind) == (mine.group, mine.kind)
            if of_mine and application.uid:
                self.later(Key(key.namespace, key.name), 0)

    async def _apply(
        self, key: Key, found: Workload, application: Application, parent: str
    ) -> None:
        try:
            applied = await self.client.apply(ApplyApplication(application=application), parent)
        except RefusedError as error:
            self.later(key, self.refused_again_s)
            if self._refused.get(key) != str(error):
                self._refused[key] = str(error)
                _log.warning("%s %s: refused: %s", self.kind.name, key, error)
                await self.writes.tell(self.kind, found, error.refusal.reason, str(error))
            return
        self._refused.pop(key, None)
        self._told[key] = application.uid
        if applied.outcome != "unchanged":
            _log.info("%s %s: %s", self.kind.name, key, applied.outcome)

    async def _matters_no_more(self, key: Key, parent: str) -> None:
        """A workload was changed. One that this controller never told of is another's: the pods
        of some ask for auto pools though their template does not, and their ADDs told of it."""
        if key in self._told:
            await self._gone(key, parent)

    async def _gone(self, key: Key, parent: str) -> None:
        """Tell the end of what the log has of the cluster; what has no UID came by hand."""
        self._refused.pop(key, None)
        known = self._known(key)
        uid = (known.uid if known else "") or self._told.pop(key, "")
        if not uid:
            return
        command = DeleteApplication(
            api_version=self.kind.api_version,
            kind=self.kind.name,
            namespace=key.namespace,
            name=key.name,
            uid=uid,
        )
        try:
            await self.client.delete_application(command, parent)
            _log.info("%s %s: gone", self.kind.name, key)
        except RefusedError as error:
            if error.refusal.reason not in _GONE:
                raise
        self._told.pop(key, None)

    def _known(self, key: Key) -> Application | None:
        return self.log.state.applications.get(self._key(key))

    def _key(self, key: Key) -> ApplicationKey:
        return application_key(self.kind.api_version, self.kind.name, key.namespace, key.name)
