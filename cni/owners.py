"""The top owner of a pod: a Deployment rather than its ReplicaSet.

Spiderpool's rule (pkg/podmanager, GetPodTopController): a ReplicaSet, a Job and a virtual machine's
instance lead to what controls them; every other owner is at the top. An owner of a kind that is
not known here is taken as the pod names it, and nothing is asked about it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from ipledger.events.facts import Owner
from ipledger.projections.cluster import kinds
from ipledger.projections.cluster.kinds import Kind
from ipledger.projections.cluster.live.api import Api, ApiError
from ipledger.projections.cluster.metadata import OwnerReference
from ipledger.projections.cluster.pods import Pod
from ipledger.projections.cluster.workloads import Workload

_Key: TypeAlias = tuple[str, str, str, str, str]
_Kinds: TypeAlias = dict[tuple[str, str], Kind[Workload]]


def _by_name(*known: Kind[Workload]) -> _Kinds:
    return {(kind.api_version, kind.name): kind for kind in known}


_LEADING_ON: _Kinds = _by_name(kinds.REPLICA_SETS, kinds.JOBS, kinds.MACHINE_INSTANCES)
_AT_THE_TOP: _Kinds = _by_name(
    kinds.DEPLOYMENTS,
    kinds.STATEFUL_SETS,
    kinds.DAEMON_SETS,
    kinds.CRON_JOBS,
    kinds.CRON_JOBS_BETA,
    kinds.MACHINES,
)

_LINK_FRESH_S = 60.0  # a ReplicaSet can be orphaned and adopted by another Deployment
_REPLICAS_FRESH_S = 2.0
_CACHED_MAX = 4096


@dataclass(slots=True)
class Owners:
    """Finds top owners, and remembers the newest `cached_max` answers for a while.

    `clock` gives seconds. Of several that ask for one object at the same time, one call is made.
    """

    api: Api
    clock: Callable[[], float]
    cached_max: int = _CACHED_MAX
    _cached: OrderedDict[_Key, tuple[float, Workload | None]] = field(
        default_factory=OrderedDict[_Key, tuple[float, Workload | None]], init=False
    )
    _asked: dict[_Key, asyncio.Task[Workload | None]] = field(
        default_factory=dict[_Key, "asyncio.Task[Workload | None]"], init=False
    )

    async def top_of(self, pod: Pod, *, with_replicas: bool) -> tuple[Owner | None, int | None]:
        """The top owner, None where nothing controls the pod, and how many pods that wants.

        The number is None where it is not asked for or nobody knows. Raises `ApiError` or
        `ApiUnreachableError`.
        """
        namespace = pod.metadata.namespace
        owner = pod.metadata.controller
        if owner is None:
            return None, None
        leading = _kind_in(_LEADING_ON, owner)
        if leading is not None:
            found = await self._get(leading, namespace, owner, _LINK_FRESH_S)
            above = found.metadata.controller if found else None
            owner = above or owner
        top = Owner(owner.api_version, owner.kind, owner.name, owner.uid)
        kind = _kind_in(_LEADING_ON | _AT_THE_TOP, owner)
        if kind is None or not with_replicas:
            return top, None
        known = await self._get(kind, namespace, owner, _REPLICAS_FRESH_S)
        return top, known.replicas if known else None

    async def close(self) -> None:
        """End what is on its way."""
        asked = list(self._asked.values())
        for one in asked:
            one.cancel()
        await asyncio.gather(*asked, return_exceptions=True)

    async def _get(
        self, kind: Kind[Workload], namespace: str, owner: OwnerReference, fresh_s: float
    ) -> Workload | None:
        """An owner, not older than so many seconds; None if it is gone."""
        key = (owner.api_version, owner.kind, namespace, owner.name, owner.uid)
        if key in self._cached:
            at, found = self._cached[key]
            if self.clock() - at <= fresh_s:
                self._cached.move_to_end(key)
                return found
        asked = self._asked.get(key)
        if asked is None:
            asked = asyncio.create_task(self._ask(kind, namespace, owner, key))
            self._asked[key] = asked
            asked.add_done_callback(lambda done: self._answered(key, done))
        return await asyncio.shield(asked)

    async def _ask(
        self, kind: Kind[Workload], namespace: str, owner: OwnerReference, key: _Key
    ) -> Workload | None:
        asked_at = self.clock()
        found = await find(self.api, kind, owner.name, namespace)
        if found is not None and found.uid != owner.uid:
            found = None
        self._cached[key] = (asked_at, found)
        self._cached.move_to_end(key)
        if len(self._cached) > self.cached_max:
            self._cached.popitem(last=False)
        return found

    def _answered(self, key: _Key, done: asyncio.Task[Workload | None]) -> None:
        del self._asked[key]
        if not done.cancelled():
            done.exception()  # told to who waits; if nobody does any more, it is nobody's


def _kind_in(known: _Kinds, owner: OwnerReference) -> Kind[Workload] | None:
    return known.get((owner.api_version, owner.kind))


async def find(api: Api, kind: Kind[kinds.O], name: str, namespace: str = "") -> kinds.O | None:
    """One object, None if it is not there. Raises `ApiError` or `ApiUnreachableError`."""
    try:
        return await api.get(kind, name, namespace)
    except ApiError as error:
        if error.status == 404:
            return None
        raise
