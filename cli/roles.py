"""Putting the roles together: server, engine and agent, started upwards, stopped downwards."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import nats
import nats.errors
import uvloop
from nats.aio.client import Client as NatsClient

from ipledger.cli.errors import CliError, DifferenceError
from ipledger.cli.output import note
from ipledger.cni.agent import Agent, AgentError
from ipledger.cni.handler import CniHandler
from ipledger.cni.outbox import Outbox
from ipledger.engine.checkpoints import Checkpoints
from ipledger.engine.client import EngineClient
from ipledger.engine.engine import Engine
from ipledger.engine.object_store import JetStreamSnapshots
from ipledger.engine.second_copy import SecondCopy, open_stream
from ipledger.engine.service import EngineService
from ipledger.engine.snapshots import Snapshots
from ipledger.events.checkpoint import CheckpointError, load_signer
from ipledger.events.embedded import EmbeddedServer, EmbeddedServerError
from ipledger.events.ledger import Ledger, LedgerError
from ipledger.events.log import BrokenLogError, LogUnavailableError

_log = logging.getLogger(__name__)

_READY_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 10.0
_RECONNECT_S = 0.05  # the server is on loopback, and this process starts it again
_EXPECTED = (
    AgentError,
    CheckpointError,
    EmbeddedServerError,
    LedgerError,
    LogUnavailableError,
    OSError,
    TimeoutError,
)


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What `ipledger up` was told."""

    data: Path
    socket: Path
    nats_port: int
    http_port: int
    node: str
    realm: str
    timeout_s: float
    checkpoint_every: int

    @property
    def ledger(self) -> Path:
        """The second copy of the log."""
        return self.data / "ledger.db"

    @property
    def key(self) -> Path:
        """The seed of the key that signs checkpoints."""
        return self.data / "checkpoint.nk"


def run_up(options: UpOptions) -> None:
    """Run everything until a signal. Raises `CliError`."""
    if sys.flags.optimize:
        raise CliError("run Python without -O: assertions guard the invariants of the log")
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    try:
        uvloop.run(_up(options))
    except BrokenLogError as error:
        files = f"{options.ledger} --data {options.data}"
        advice = f"see `ipledger verify --ledger {files}`, then `ipledger restore --from {files}`"
        raise DifferenceError(f"{error}; {advice}") from error
    except _EXPECTED as error:
        raise CliError(str(error)) from error


async def _up(options: UpOptions) -> None:
    """Start from the bottom up, serve until a signal, stop from the top down."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with (
        _running_server(options) as server,
        _connected(server.url, "engine") as engine_nc,
        _connected(server.url, "agent") as agent_nc,
        _second_copy(options) as copy,
        _running_engine(options, engine_nc, copy, stop),
        _running_agent(options, agent_nc) as agent,
    ):
        note(
            f"ready socket={options.socket.absolute()} nats={server.url} "
            f"http=http://127.0.0.1:{agent.http_port}"
        )
        await stop.wait()


@contextlib.asynccontextmanager
async def _running_server(options: UpOptions) -> AsyncGenerator[EmbeddedServer]:
    server = EmbeddedServer(options.data, options.nats_port)
    await server.start()
    supervising = asyncio.create_task(server.supervise())
    try:
        yield server
    finally:
        supervising.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await supervising
        await server.stop()


@contextlib.asynccontextmanager
async def _connected(url: str, role: str) -> AsyncGenerator[NatsClient]:
    async def log_error(error: Exception) -> None:
        _log.warning("%s: NATS: %r", role, error)

    nc = await nats.connect(
        url,
        name=f"ipledger {role}",
        error_cb=log_error,
        max_reconnect_attempts=-1,
        reconnect_time_wait=_RECONNECT_S,
    )
    try:
        yield nc
    finally:
        with contextlib.suppress(nats.errors.Error, OSError):
            await nc.close()


@contextlib.asynccontextmanager
async def _second_copy(options: UpOptions) -> AsyncGenerator[SecondCopy]:
    ledger = await Ledger.open(options.ledger, options.realm)
    try:
        yield SecondCopy(ledger)
    finally:
        await ledger.close()


@contextlib.asynccontextmanager
async def _running_engine(
    options: UpOptions, nc: NatsClient, copy: SecondCopy, stop: asyncio.Event
) -> AsyncGenerator[Engine]:
    log = await open_stream(nc, options.realm, copy.ledger)
    signer = load_signer(options.key)
    _log.info("checkpoints are signed by key %s", signer.key)
    checkpoints = Checkpoints(signer, options.realm, options.checkpoint_every)
    engine = Engine(
        log,
        options.realm,
        options.node,
        second_copy=copy,
        checkpoints=checkpoints,
        snapshots=Snapshots(JetStreamSnapshots(nc, options.realm), options.realm),
    )
    service = EngineService(nc, engine)
    await service.start()
    running = asyncio.create_task(engine.run())
    running.add_done_callback(lambda _: stop.set())
    ready = asyncio.create_task(engine.ready.wait())
    try:
        await asyncio.wait_for(
            asyncio.wait((running, ready), return_when=asyncio.FIRST_COMPLETED), _READY_TIMEOUT_S
        )
        if not running.done():
            yield engine
    finally:
        ready.cancel()
        engine.stop()
        await asyncio.wait((running,), timeout=_STOP_TIMEOUT_S)
        if not running.done():  # a commit that JetStream does not take: found at the next start
            running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await service.stop()


@contextlib.asynccontextmanager
async def _running_agent(options: UpOptions, nc: NatsClient) -> AsyncGenerator[Agent]:
    outbox = await Outbox.open(options.data / "agent.db", options.node)
    client = EngineClient(nc, options.realm, options.timeout_s)
    handler = CniHandler(client, outbox, options.node, options.timeout_s)
    agent = Agent(handler, client, options.socket, options.http_port)
    try:
        await agent.start()
        yield agent
    finally:
        await agent.stop()
