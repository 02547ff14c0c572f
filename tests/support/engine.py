"""A real engine of a realm, on a real nats-server, in this process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable

from nats.aio.client import Client as NatsClient

from ipledger.engine.client import EngineClient
from ipledger.engine.engine import Engine
from ipledger.engine.service import EngineService
from ipledger.events.jetstream import JetStreamLog
from support.desk import Clock


@contextlib.asynccontextmanager
async def running_engine(
    nc: NatsClient, realm: str, clock: Callable[[], int] | None = None
) -> AsyncGenerator[EngineClient]:
    """A client of an engine that leads the realm."""
    log = await JetStreamLog.create(nc, realm)
    engine = Engine(log, nc, realm, "engine-1", clock=clock or Clock(), alone=True)
    service = EngineService(nc, engine)
    await service.start()
    running = asyncio.create_task(engine.run())
    try:
        await engine.ready.wait()
        yield EngineClient(nc, realm)
    finally:
        engine.stop()
        await running
        await service.stop()
