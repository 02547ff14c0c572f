"""The engine as a role: from a connection to an engine that serves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from nats.aio.client import Client as NatsClient

from ipledger.cli.connection import Server
from ipledger.cli.output import note
from ipledger.cli.roles import connected, either, serve
from ipledger.engine.engine import Engine
from ipledger.engine.health import HealthServer
from ipledger.engine.service import EngineService
from ipledger.events.jetstream import JetStreamLog
from ipledger.events.log import LogUnavailableError
from ipledger.events.tasks import end

_log = logging.getLogger(__name__)

_AGAIN_S = 0.25
_STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What an engine was told. `replicas` is for a stream that is not there yet."""

    server: Server
    name: str
    replicas: int
    http_port: int


def run_engine(options: EngineOptions) -> None:
    """Run one engine until a signal. Raises `CliError`."""
    serve(lambda stop: _engine(options, stop))


async def _engine(options: EngineOptions, stop: asyncio.Event) -> None:
    server = options.server
    async with connected(server, "engine", stop) as nc, HealthServer(options.http_port) as health:
        log = await reach_log(nc, server.realm, options.replicas, stop)
        if log is None:
            return
        engine = Engine(log, nc, server.realm, options.name)
        health.engine = engine
        async with running(engine, stop):
            if await either(engine.ready.wait(), stop):
                note(
                    f"ready engine={options.name} nats={server.shown} "
                    f"http=http://127.0.0.1:{health.port}"
                )
                await stop.wait()


async def reach_log(
    nc: NatsClient, realm: str, replicas: int, stop: asyncio.Event
) -> JetStreamLog | None:
    """The realm's log, made if there is none; None if `stop` was set first.

    Waits for a server to be there, and for the stream to have a leader.
    """
    while not stop.is_set():
        if nc.is_connected:
            try:
                return await JetStreamLog.create(nc, realm, replicas)
            except LogUnavailableError as error:
                _log.warning("trying again: %s", error)
        await either(asyncio.sleep(_AGAIN_S), stop)
    return None


@contextlib.asynccontextmanager
async def running(engine: Engine, stop: asyncio.Event) -> AsyncGenerator[None]:
    """The engine runs and is served on its own bus. `stop` is set when it ends by itself."""
    service = EngineService(engine.bus, engine)
    await service.start()
    task = asyncio.create_task(engine.run())
    task.add_done_callback(lambda _: stop.set())
    try:
        yield
    finally:
        engine.stop()
        await asyncio.wait((task,), timeout=_STOP_TIMEOUT_S)
        ended = task.done()
        await end(task)  # from a commit that JetStream does not take: found at the next start
        await service.stop()
        if ended:
            task.result()
