"""The admission webhook as a role: it listens at once, whether or not NATS is there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from ipledger.cli.connection import Server
from ipledger.cli.output import note
from ipledger.cli.roles import Process, connected, serve
from ipledger.engine.client import EngineClient
from ipledger.engine.metrics.client_metrics import ClientMetrics
from ipledger.engine.metrics.exposition import Exposition
from ipledger.engine.metrics.metric import Role
from ipledger.events.logs import DEFAULT_LOGS, LogSettings
from ipledger.kube.certificates import Certificates
from ipledger.kube.metrics import WEBHOOK
from ipledger.kube.webhook import Webhook


@dataclass(frozen=True, slots=True)
class WebhookOptions:
    """What a webhook was told. `timeout_s` is how long the engine is asked for one review."""

    server: Server
    host: str
    port: int
    cert: Path
    key: Path
    timeout_s: float
    logs: LogSettings = DEFAULT_LOGS


def run_webhook(options: WebhookOptions) -> None:
    """Run one webhook until a signal. Raises `CliError`."""
    serve(lambda stop: _webhook(options, stop), Process("ipledger-webhook", "", options.logs))


async def _webhook(options: WebhookOptions, stop: asyncio.Event) -> None:
    certificates = Certificates(options.cert, options.key)
    async with connected(options.server, "webhook", stop) as nc:
        client = EngineClient(nc, options.server.realm, options.timeout_s)
        metrics = Exposition(options.server.realm)
        metrics.add_role(Role.WEBHOOK, nc)
        metrics.add(ClientMetrics(client, Role.WEBHOOK))
        metrics.add(WEBHOOK)
        webhook = Webhook(client, certificates, options.host, options.port, metrics)
        async with webhook.serving():
            note(
                f"ready webhook=https://{options.host}:{webhook.port}/validate "
                f"nats={options.server.shown}"
            )
            await stop.wait()
