"""Pools: as every resource, and those that the engine makes are shown as objects."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import cast

from ipledger.engine.commands import AnyApply, ApplyPool
from ipledger.kube import auto_objects
from ipledger.kube.log_view import BehindError
from ipledger.kube.reading import as_manifest, read_resource
from ipledger.kube.resource_controller import ResourceController
from ipledger.kube.resources import FieldError
from ipledger.projections.cluster.spiderpool import Resource
from ipledger.projections.pool import Pool

_log = logging.getLogger(__name__)

_UNKNOWN = (
    "metadata.labels: an auto pool of Spiderpool that the log does not have; take it over with "
    "`ipledger import spiderpool`, or delete it"
)


@dataclass(slots=True)
class PoolController(ResourceController):
    """Carries pools between the API server and the log."""

    async def without_object(self, name: str) -> None:
        """Show an auto pool that has no object yet."""
        pool = self._pool(name)
        if self.watch.is_synced and pool and pool.spec.auto and not pool.terminating:
            body = auto_objects.body_of(pool.spec, self.log.state.position)
            await self.writes.create(self.face.kind, body)
            _log.info("%s %s: shown", self.face.kind.name, name)

    def is_shown(self, name: str) -> bool:
        """Auto pools are shown."""
        pool = self._pool(name)
        if pool is None or pool.spec.auto is None:
            return False
        self.later(name, 0)
        return True

    async def is_over(self, found: Resource) -> bool:
        """An object goes with the auto pool that it was made for, or when that terminates."""
        made = auto_objects.made_at(found)
        pool = self._pool(found.metadata.name)
        if made is None or (pool is not None and not pool.terminating):
            return False
        if self.log.state.position < made:
            raise BehindError(f"{found.key} was made for a pool at {made}, which is to be read")
        await self.writes.delete(self.face.kind, found)
        return True

    def command(self, found: Resource) -> AnyApply | None:
        """What an object asks for; its addresses are not asked for where they follow the log."""
        pool = self._pool(found.metadata.name)
        if auto_objects.is_unknown_auto(found, pool.spec if pool else None):
            raise FieldError("metadata.labels", _UNKNOWN)
        read = cast(ApplyPool, read_resource(as_manifest(self.face.kind, found)))
        if pool is None:
            return read
        if pool.spec.auto is None:
            return read
        return auto_objects.wanted(read, pool.spec, pool.spec.auto, found)

    async def follow(self, found: Resource) -> None:
        """Bring addresses and labels of an auto pool's object to where the log is."""
        pool = self._pool(found.metadata.name)
        if pool is None or pool.spec.auto is None:
            return
        try:
            read = cast(ApplyPool, read_resource(as_manifest(self.face.kind, found)))
        except FieldError:
            return  # it was told to whoever wrote that
        change = auto_objects.changes(read, pool.spec, found, self.log.state.position)
        if change is not None:
            await self.writes.change(self.face.kind, found, *change)

    def why_waiting(self, name: str) -> str:
        """A terminating pool waits for its last address."""
        pool = self._pool(name)
        if pool is None or not pool.terminating:
            return ""
        return f"{len(pool.taken)} addresses in use; it goes with the last one"

    def _pool(self, name: str) -> Pool | None:
        return self.log.state.pools.get(name)
