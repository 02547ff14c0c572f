"""The real commands against a real engine: its clock stands still unless a test moves it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio
from nats.aio.client import Client as NatsClient
from support.golden import SIGNER
from support.terminal import MANIFESTS, Cli, Clock

from ipledger.engine.checkpoints import Checkpoints
from ipledger.engine.client import EngineClient
from ipledger.engine.engine import Engine
from ipledger.engine.service import EngineService
from ipledger.events.embedded import EmbeddedServer
from ipledger.events.jetstream import JetStreamLog


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cli(
    nats_server: EmbeddedServer, realm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Cli:
    """The command line as an operator has it set up; files are named from MANIFESTS."""
    monkeypatch.setenv("IPLEDGER_NATS", nats_server.url)
    monkeypatch.setenv("IPLEDGER_REALM", realm)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(MANIFESTS)
    return Cli(nats_server.url, realm, tmp_path)


@pytest_asyncio.fixture
async def engine(nc: NatsClient, realm: str, clock: Clock) -> AsyncGenerator[EngineClient]:
    """A running engine of the realm, and a client of it."""
    log = await JetStreamLog.create(nc, realm)
    checkpoints = Checkpoints(SIGNER, realm)
    engine = Engine(
        log,
        nc,
        realm,
        "engine-1",
        clock=clock,
        monotonic=lambda: 0.0,
        alone=True,
        checkpoints=checkpoints,
    )
    service = EngineService(nc, engine)
    await service.start()
    running = asyncio.create_task(engine.run())
    await engine.ready.wait()
    yield EngineClient(nc, realm)
    engine.stop()
    await running
    await service.stop()
