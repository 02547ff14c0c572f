"""The controller as a role, and the collector with it.

They work once NATS, the log and the API server are there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime

from nats.aio.client import Client as NatsClient

from ipledger.cli.cluster import Cluster
from ipledger.cli.connection import Server
from ipledger.cli.output import note
from ipledger.cli.role_engine import snapshots
from ipledger.cli.roles import Process, connected, either, serve
from ipledger.engine.client import EngineClient
from ipledger.engine.health import Health, HealthServer
from ipledger.engine.listen import Listen
from ipledger.engine.metrics.client_metrics import ClientMetrics
from ipledger.engine.metrics.exposition import Exposition
from ipledger.engine.metrics.metric import Role
from ipledger.engine.metrics.watch_metrics import WatchMetrics
from ipledger.events.direct_log import DirectLog
from ipledger.events.log import LogUnavailableError
from ipledger.events.logs import DEFAULT_LOGS, LogSettings
from ipledger.events.tasks import end, first_to_end
from ipledger.gc import metrics
from ipledger.gc.collector import Collector
from ipledger.gc.settings import Settings
from ipledger.gc.view import View
from ipledger.kube.controller import Controller
from ipledger.kube.lease import Election, LeaseLostError, LeaseName
from ipledger.kube.metrics import CONTROLLER
from ipledger.projections.cluster.live.api import Api
from ipledger.projections.cluster.live.connect import connected as connected_api

_log = logging.getLogger(__name__)

_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class ControllerOptions:
    """What a controller was told."""

    server: Server
    cluster: Cluster
    http: Listen
    timeout_s: float
    collecting: Settings | None
    """How zombies are collected; None if they are not."""
    endpoints: bool = False
    """Whether pods are shown as SpiderEndpoints."""
    lease: LeaseName | None = None
    """What is held while it works; None if it works whoever else does."""
    logs: LogSettings = DEFAULT_LOGS


def run_controller(options: ControllerOptions) -> None:
    """Run one controller until a signal. Raises `CliError`."""
    serve(lambda stop: _controller(options, stop), Process("ipledger-controller", "", options.logs))


async def _controller(options: ControllerOptions, stop: asyncio.Event) -> None:
    exposition = Exposition(options.server.realm)
    async with (
        connected(options.server, "controller", stop) as nc,
        HealthServer(options.http, exposition) as health,
    ):
        log = await _reach_log(nc, options.server.realm, stop)
        if log is None:
            return
        async with elected(options, health, stop) as is_elected:
            if is_elected:
                await _work(options, nc, log, stop, exposition, health)


async def _work(
    options: ControllerOptions,
    nc: NatsClient,
    log: DirectLog,
    stop: asyncio.Event,
    exposition: Exposition,
    health: HealthServer,
) -> None:
    async with running_controller(options, nc, log, stop, exposition) as controller:
        health.health = lambda: _health(nc, controller)
        if await either(controller.ready.wait(), stop):
            note(f"ready controller nats={options.server.shown} http={health.url}")
            await stop.wait()


@contextlib.asynccontextmanager
async def elected(
    options: ControllerOptions, health: HealthServer, stop: asyncio.Event
) -> AsyncGenerator[bool]:
    """Wait until this controller has the lease, if there is one. Yields False if `stop` came first.

    `stop` is set when another has it, and `LeaseLostError` is raised: whoever restarts this process
    has a candidate again.
    """
    if options.lease is None:
        yield True
        return
    async with connected_api(options.cluster.kubeconfig) as api:
        election = _election(api, options.lease)
        health.health = lambda: Health(True, f"standby: {election.holder or 'nobody'} works")
        if not await either(election.acquire(), stop):
            yield False
            return
        keeping = asyncio.create_task(election.keep())
        keeping.add_done_callback(lambda _: stop.set())
        try:
            yield True
        finally:
            lost = keeping.done()
            await end(keeping)
            await election.release()
        if lost:
            raise LeaseLostError(f"lease {options.lease}: {election.holder} has it now")


def _election(api: Api, lease: LeaseName) -> Election:
    identity = f"{socket.gethostname()}_{uuid.uuid4()}"
    loop = asyncio.get_running_loop()
    return Election(api, *lease, identity, _now_exactly, loop.time, random.random)


async def _reach_log(nc: NatsClient, realm: str, stop: asyncio.Event) -> DirectLog | None:
    """The realm's log once it is there and whole; None if `stop` came first."""
    while not stop.is_set():
        if nc.is_connected:
            try:
                log = DirectLog(nc, realm)
                await log.last()
                return log
            except LogUnavailableError as error:
                _log.warning("trying again: %s", error)
        await either(asyncio.sleep(_AGAIN_S), stop)
    return None


@contextlib.asynccontextmanager
async def running_controller(
    options: ControllerOptions,
    nc: NatsClient,
    log: DirectLog,
    stop: asyncio.Event,
    exposition: Exposition,
) -> AsyncGenerator[Controller]:
    """A controller that works. `stop` is set when it ends by itself, and why is raised."""
    realm = options.server.realm
    engine = EngineClient(nc, realm, options.timeout_s)
    async with connected_api(options.cluster.kubeconfig) as api:
        controller = Controller(
            api, engine, log, snapshots(nc, realm), _now, random.random, endpoints=options.endpoints
        )
        exposition.add_role(Role.CONTROLLER, nc)
        for source in (controller, CONTROLLER, ClientMetrics(engine, Role.CONTROLLER)):
            exposition.add(source)
        work = [controller.run()]
        if options.collecting is not None:
            view = View.of(api, options.collecting.interval_s, random.random)
            work.append(Collector(engine, view, options.collecting).run())
            exposition.add(metrics.REGISTRY)
            exposition.add(WatchMetrics("collector", view.watches))
        task = asyncio.create_task(first_to_end(*work))
        task.add_done_callback(lambda _: stop.set())
        try:
            yield controller
        finally:
            ended = task.done()
            await end(task)
            if ended:
                task.result()


def _health(nc: NatsClient, controller: Controller) -> Health:
    if not nc.is_connected:
        return Health(False, "NATS is not connected")
    return Health(not controller.waits_for, controller.waits_for or "ok")


def _now_exactly() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
