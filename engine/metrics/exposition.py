"""The text that Prometheus reads: everything that a process has, with its realm."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from ipledger import __version__
from ipledger.engine.metrics import table


class Source(Protocol):
    """What has metrics: a registry, or something that makes them when it is asked."""

    def collect(self) -> Iterable[Metric]:
        """The metrics as they are."""
        ...


class Connection(Protocol):
    """A connection to NATS."""

    @property
    def is_connected(self) -> bool:
        """Whether it is up."""
        ...

    @property
    def stats(self) -> dict[str, int]:
        """What it counts; `reconnects` among it."""
        ...


class Exposition:
    """The metrics of a process in `realm`; sources are added as its roles start."""

    def __init__(self, realm: str) -> None:
        self._realm = realm
        self._roles: list[str] = []
        self._connections: dict[str, Connection] = {}
        self._sources: list[Source] = [ProcessCollector(registry=None)]
        self._refreshers: list[Callable[[], Awaitable[None]]] = []

    def add_role(self, role: str, connection: Connection | None = None) -> None:
        """The process runs a role, on a connection to NATS."""
        self._roles.append(role)
        if connection is not None:
            self._connections[role] = connection

    def add(self, source: Source, refresh: Callable[[], Awaitable[None]] | None = None) -> None:
        """Show a source, too; `refresh` is awaited before it is read."""
        self._sources.append(source)
        if refresh is not None:
            self._refreshers.append(refresh)

    async def response(self) -> web.Response:
        """The answer to `GET /metrics`."""
        return web.Response(body=await self.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def text(self) -> bytes:
        """All metrics in Prometheus' text format.

        They are read in the loop's thread, in which they change, and written in another.
        """
        for refresh in self._refreshers:
            await refresh()
        sources = (_Families(self._own()), *self._sources)
        found = [family for source in sources for family in source.collect()]
        return await asyncio.to_thread(self._written, found)

    def _written(self, found: Iterable[Metric]) -> bytes:
        """One family for each name, as the format wants it, though several sources have it."""
        families: dict[str, Metric] = {}
        for family in found:
            kept = families.setdefault(
                family.name, Metric(family.name, family.documentation, family.type)
            )
            kept.samples += [
                Sample(sample.name, {**sample.labels, "realm": self._realm}, sample.value)
                for sample in family.samples
                if not sample.name.endswith("_created")
            ]
        return generate_latest(_Families(list(families.values())))

    def _own(self) -> list[Metric]:
        connected = self._connections.items()
        return [
            table.BUILD_INFO.family([((role, __version__), 1) for role in self._roles]),
            table.NATS_CONNECTED.family([((n,), c.is_connected) for n, c in connected]),
            table.NATS_RECONNECTS.family([((n,), c.stats["reconnects"]) for n, c in connected]),
        ]


class _Families(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
