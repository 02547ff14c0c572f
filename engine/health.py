"""Whether an engine can be asked, over HTTP: for whatever restarts it or routes to it."""

from __future__ import annotations

from types import TracebackType

from aiohttp import web

from ipledger.engine.engine import Engine, Role


class HealthServer:
    """Serves `GET /healthz` on loopback: 200 with the engine's role, else 503 with what is wrong.

    `engine` may be set later. Port 0 picks a free one; `OSError` is raised where one is taken.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.engine: Engine | None = None
        self._runner = web.ServerRunner(web.Server(self._answer, access_log=None))

    async def __aenter__(self) -> HealthServer:
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        except BaseException:
            await self._runner.cleanup()
            raise
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if (request.method, request.path) != ("GET", "/healthz"):
            return web.Response(text="not found\n", status=404)
        if self.engine is None:
            return web.Response(text="the log is not reached yet\n", status=503)
        if not self.engine.bus.is_connected:
            return web.Response(text="NATS is not connected\n", status=503)
        serves = self.engine.role in (Role.STANDBY, Role.LEADER)
        return web.Response(text=f"{self.engine.role}\n", status=200 if serves else 503)
