"""An API server that is behind: lists and watches are old, direct reads are not, or not as much.

So are real ones: a watch cache may be seconds behind etcd, while a read without a version is
consistent. `lag_s` and `read_lag_s` may change while it serves. It can also be struck by faults
that the double itself does not have: a list without any item.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from support.apiserver import ApiServer, Call
from support.apiserver.errors import no_object
from support.apiserver.server import Route
from support.apiserver.store import Event, Store

_KEPT_EVENTS = 500


@dataclass
class Replica:
    """A store that has what another one, which forgets nothing, had `lag_s()` ago."""

    source: Store
    lag_s: Callable[[], float]
    store: Store = field(default_factory=Store)
    _waiting: deque[tuple[float, Event]] = field(default_factory=deque[tuple[float, Event]])

    async def follow(self) -> None:
        """Follow the source until cancelled."""
        loop = asyncio.get_running_loop()
        seen = 0
        while True:
            news = self.source.events[seen:]
            self._waiting.extend((loop.time(), event) for event in news)
            seen += len(news)
            while self._waiting and self._waiting[0][0] + self.lag_s() <= loop.time():
                self._apply(self._waiting.popleft()[1])
            await self.source.wait(0.005 if self._waiting else 1.0)

    def _apply(self, event: Event) -> None:
        found = event.after or event.before
        assert found is not None
        metadata = found["metadata"]
        self.store.revision = event.revision - 1
        self.store.write(
            event.resource, (metadata.get("namespace", ""), metadata["name"]), event.after
        )
        surplus = len(self.store.events) - 2 * _KEPT_EVENTS
        if surplus > 0:  # whoever is that far behind must list again
            self.store.events = self.store.events[-_KEPT_EVENTS:]
            self.store.compacted = self.store.events[0].revision - 1


@dataclass
class StaleServer(ApiServer):
    """Serves what `truth` has, later. `blank` lets its lists be empty."""

    truth: Store = field(default_factory=Store)
    lag_s: float = 0.0
    read_lag_s: float = 0.0
    blank: bool = False
    _tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])
    _reads: Store = field(default_factory=Store)

    async def start(self) -> None:
        if not self._tasks:
            behind = Replica(self.truth, lambda: self.lag_s, self.store)
            reads = Replica(self.truth, lambda: self.read_lag_s)
            self._reads = reads.store
            self._tasks = [asyncio.create_task(one.follow()) for one in (behind, reads)]
        await super().start()

    async def close(self) -> None:
        """Stop for good."""
        await self.stop()
        for task in self._tasks:
            task.cancel()

    def create(
        self, api_version: str, plural: str, body: dict[str, Any], namespace: str = ""
    ) -> dict[str, Any]:
        """What the base makes at its start is there by the truth already."""
        return body

    async def _answer(
        self, request: web.Request, route: Route, call: Call
    ) -> tuple[int, dict[str, Any]]:
        if request.method == "GET" and route.name:
            store = self._reads if self.read_lag_s else self.truth
            known = store.get(route.resource.full_name, route.key)
            if known is None:
                raise no_object(route.resource.plural, route.name)
            return 200, {**known, "apiVersion": route.resource.api_version}
        code, body = await super()._answer(request, route, call)
        if self.blank and call.verb == "list" and route.resource.plural == "pods":
            return code, {**body, "items": list[dict[str, Any]]()}
        return code, body
