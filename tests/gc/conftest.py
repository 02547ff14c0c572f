"""An engine on the shared nats-server, the API server double, and a clock of the test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from nats.aio.client import Client as NatsClient
from support.apiserver import ApiServer
from support.collecting import Field, ShiftedClock

from ipledger.engine.client import EngineClient
from ipledger.engine.commands import ApplyPool
from ipledger.engine.engine import Engine
from ipledger.engine.service import EngineService
from ipledger.events.facts import PoolSpec
from ipledger.events.jetstream import JetStreamLog
from ipledger.projections.cluster.live.connect import connected

POOL = PoolSpec("pool", 0, "10.1.0.0/16", ips=("10.1.0.10-10.1.3.250",), default=True)


@pytest_asyncio.fixture
async def field(nc: NatsClient, realm: str, tmp_path: Path) -> AsyncIterator[Field]:
    clock, server = ShiftedClock(), ApiServer()
    log = await JetStreamLog.create(nc, realm)
    engine = Engine(log, nc, realm, "engine-1", clock=clock, alone=True)
    service = EngineService(nc, engine)
    await service.start()
    running = asyncio.create_task(engine.run())
    await engine.ready.wait()
    await server.start()
    async with connected(server.kubeconfig(tmp_path)) as api:
        made = Field(server, api, EngineClient(nc, realm), clock, log)
        made.node()
        await made.engine.apply(ApplyPool(pool=POOL))
        yield made
    await server.stop()
    await service.stop()
    engine.stop()
    await running
