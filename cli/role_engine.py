"""The engine as a role: from a connection to an engine that serves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

from nats.aio.client import Client as NatsClient

from ipledger.cli.connection import Server
from ipledger.cli.output import note
from ipledger.cli.roles import Process, connected, either, serve
from ipledger.engine.checkpoints import Checkpoints
from ipledger.engine.engine import Engine
from ipledger.engine.health import HealthServer, engine_health
from ipledger.engine.lanes import Lanes
from ipledger.engine.listen import Listen
from ipledger.engine.metrics.engine_metrics import EngineMetrics
from ipledger.engine.metrics.exposition import Exposition
from ipledger.engine.metrics.metric import Role
from ipledger.engine.object_store import JetStreamSnapshots
from ipledger.engine.second_copy import SecondCopy, open_stream
from ipledger.engine.service import EngineService
from ipledger.engine.snapshots import Snapshots
from ipledger.events.checkpoint import load_signer
from ipledger.events.jetstream import JetStreamLog
from ipledger.events.ledger import Ledger
from ipledger.events.log import LogUnavailableError
from ipledger.events.logs import DEFAULT_LOGS, LogSettings
from ipledger.events.tasks import end
from ipledger.projections.exhaustion import WINDOW_S, Usage

_log = logging.getLogger(__name__)

_AGAIN_S = 0.25
_STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class OwnOptions:
    """What an engine keeps for itself, in the directory `data`."""

    data: Path
    checkpoint_every: int
    forecast_window_s: float = WINDOW_S

    @property
    def ledger(self) -> Path:
        """The second copy of the log."""
        return self.data / "ledger.db"

    @property
    def key(self) -> Path:
        """The seed of the key that signs checkpoints."""
        return self.data / "checkpoint.nk"


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What an engine was told. `replicas` is for a stream that is not there yet."""

    server: Server
    name: str
    replicas: int
    http: Listen
    own: OwnOptions
    logs: LogSettings = DEFAULT_LOGS


def run_engine(options: EngineOptions) -> None:
    """Run one engine until a signal. Raises `CliError`."""
    process = Process("ipledger-engine", options.name, options.logs)
    serve(lambda stop: _engine(options, stop), process, str(options.own.ledger))


async def _engine(options: EngineOptions, stop: asyncio.Event) -> None:
    server = options.server
    metrics = Exposition(server.realm)
    async with (
        connected(server, "engine", stop) as nc,
        asked_by(server, stop) as asked,
        HealthServer(options.http, metrics) as health,
        second_copy(options.own, server.realm) as copy,
    ):
        log = await reach_log(nc, copy.ledger, options.replicas, stop)
        if log is None:
            return
        signing = checkpoints(options.own, server.realm)
        engine = Engine(
            log,
            nc,
            server.realm,
            options.name,
            second_copy=copy,
            checkpoints=signing,
            snapshots=snapshots(nc, server.realm),
            monotonic=perf_counter,
            usage=Usage(options.own.forecast_window_s),
        )
        expose(engine, nc, metrics)
        health.health = partial(engine_health, engine)
        async with running(engine, asked, stop):
            if await either(engine.ready.wait(), stop):
                note(f"ready engine={options.name} nats={server.shown} http={health.url}")
                await stop.wait()


def expose(engine: Engine, nc: NatsClient, metrics: Exposition) -> None:
    """Show the metrics of an engine."""
    own = EngineMetrics(engine)
    metrics.add_role(Role.ENGINE, nc)
    metrics.add(own, own.refresh)


@contextlib.asynccontextmanager
async def second_copy(own: OwnOptions, realm: str) -> AsyncGenerator[SecondCopy]:
    """The engine's copy of the log."""
    own.data.mkdir(parents=True, exist_ok=True)
    ledger = await Ledger.open(own.ledger, realm)
    try:
        yield SecondCopy(ledger)
    finally:
        await ledger.close()


def checkpoints(own: OwnOptions, realm: str) -> Checkpoints:
    """What signs checkpoints, with a key that is made at the first start."""
    signer = load_signer(own.key)
    _log.info("checkpoints are signed by key %s", signer.key)
    return Checkpoints(signer, realm, own.checkpoint_every)


def snapshots(nc: NatsClient, realm: str) -> Snapshots:
    """Where the engine begins, and what it takes while it leads."""
    return Snapshots(JetStreamSnapshots(nc, realm), realm)


async def reach_log(
    nc: NatsClient, ledger: Ledger, replicas: int, stop: asyncio.Event
) -> JetStreamLog | None:
    """The log of the ledger's realm, made for a realm that is new; None if `stop` came first.

    Waits for a server to be there, and for the stream to have a leader.
    """
    while not stop.is_set():
        if nc.is_connected:
            try:
                return await open_stream(nc, ledger, replicas)
            except LogUnavailableError as error:
                _log.warning("trying again: %s", error)
        await either(asyncio.sleep(_AGAIN_S), stop)
    return None


@contextlib.asynccontextmanager
async def asked_by(server: Server, stop: asyncio.Event) -> AsyncGenerator[Lanes]:
    """Connections by which an engine is asked.

    What the log and other engines tell it must not wait behind what a node floods it with.
    """
    async with (
        connected(server, "engine-service", stop) as clear,
        connected(server, "engine-crowd", stop) as crowd,
    ):
        yield Lanes(clear, crowd, server.realm)


@contextlib.asynccontextmanager
async def running(engine: Engine, asked: Lanes, stop: asyncio.Event) -> AsyncGenerator[None]:
    """The engine runs, and is asked. `stop` is set when it ends."""
    while not ((asked.is_connected and asked.crowd.is_connected) or stop.is_set()):
        await either(asyncio.sleep(_AGAIN_S), stop)
    service = EngineService(asked, engine)
    asked.is_over = service.patience.is_over
    await service.start()
    task = asyncio.create_task(engine.run())
    task.add_done_callback(lambda _: stop.set())
    observing = asyncio.create_task(engine.observe_usage())
    try:
        yield
    finally:
        await end(observing)
        engine.stop()
        await asyncio.wait((task,), timeout=_STOP_TIMEOUT_S)
        ended = task.done()
        await end(task)  # from a commit that JetStream does not take: found at the next start
        await service.stop()
        if ended:
            task.result()
