"""The webhook's HTTPS server: `POST /validate` for an API server, `/healthz` and `/metrics`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from aiohttp import web
from opentelemetry.trace import SpanKind

from ipledger.engine.client import EngineClient
from ipledger.engine.metrics.exposition import Exposition
from ipledger.events import traceparent, tracing
from ipledger.kube.admission import BadReviewError, review
from ipledger.kube.certificates import Certificates
from ipledger.kube.metrics import REVIEW_DURATION, REVIEWS

_log = logging.getLogger(__name__)

_BODY_BYTES_MAX = 8 * 1024 * 1024
"""Twice the largest object that an API server takes (its limit of a request is 3 MiB), and air."""

_BODY_TIMEOUT_S = 5.0
_STOP_TIMEOUT_S = 5.0


@dataclass(slots=True)
class Webhook:
    """Answers reviews by asking `client`, whose own time limit is that of a review.

    Port 0 picks a free one; `OSError` is raised where one is taken.
    """

    client: EngineClient
    certificates: Certificates
    host: str
    port: int
    metrics: Exposition
    body_timeout_s: float = _BODY_TIMEOUT_S

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncGenerator[None]:
        """Listen; in the end what was asked is answered."""
        app = web.Application(client_max_size=_BODY_BYTES_MAX)
        app.router.add_post("/validate", self._on_review)
        app.router.add_get("/healthz", self._on_health)
        app.router.add_get("/metrics", self._on_metrics)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_TIMEOUT_S)
        await runner.setup()
        try:
            context = self.certificates.context
            await web.TCPSite(runner, self.host, self.port, ssl_context=context).start()
            self.port = runner.addresses[0][1]
            yield
        finally:
            await runner.cleanup()

    async def _on_review(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(self.body_timeout_s):
                body = await request.read()
        except TimeoutError:
            return web.Response(text="the body did not come in time\n", status=408)
        asked = traceparent.valid(request.headers.get("traceparent", ""))
        try:
            with (
                REVIEW_DURATION.time(),
                tracing.begin("webhook.review", asked, kind=SpanKind.SERVER),
            ):
                answer = await review(self.client, body)
        except BadReviewError as error:
            REVIEWS.labels("bad").inc()
            return web.Response(text=f"{error}\n", status=400)
        return web.Response(body=answer, content_type="application/json")

    async def _on_metrics(self, request: web.Request) -> web.Response:
        return await self.metrics.response()

    async def _on_health(self, request: web.Request) -> web.Response:
        """It serves, even without an engine: it then says what it could not check."""
        return web.Response(text="ok\n")
