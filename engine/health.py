"""Whether a process can do its work, over HTTP: for whatever restarts it or routes to it."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple

from aiohttp import web

from ipledger.engine.engine import Engine, Role
from ipledger.engine.listen import Listen
from ipledger.engine.metrics.exposition import Exposition


class Health(NamedTuple):
    """How a process is: what it does, or what is wrong."""

    is_well: bool
    text: str


def engine_health(engine: Engine) -> Health:
    """An engine's role, or what is wrong with it."""
    if not engine.bus.is_connected:
        return Health(False, "NATS is not connected")
    return Health(engine.role in (Role.STANDBY, Role.LEADER), engine.role)


class HealthServer:
    """Serves `GET /healthz`: 200 if `health()` is well, else 503, with its text.

    And `GET /metrics`, where there are any.

    `health` may be set later. `url` is where it listens; `OSError` is raised where one is taken.
    """

    def __init__(self, listen: Listen, metrics: Exposition | None = None) -> None:
        self._listen = listen
        self.url = ""
        self._metrics = metrics
        self.health: Callable[[], Health] = lambda: Health(False, "the log is not reached yet")
        self._runner = web.ServerRunner(web.Server(self._answer, access_log=None))

    async def __aenter__(self) -> HealthServer:
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, *self._listen).start()
        except BaseException:
            await self._runner.cleanup()
            raise
        self.url = self._listen.url(self._runner.addresses[0][1])
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        asked = (request.method, request.path)
        if asked == ("GET", "/metrics") and self._metrics is not None:
            return await self._metrics.response()
        if asked != ("GET", "/healthz"):
            return web.Response(text="not found\n", status=404)
        is_well, text = self.health()
        return web.Response(text=f"{text}\n", status=200 if is_well else 503)
