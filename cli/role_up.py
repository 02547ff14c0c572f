"""Everything on one machine, from nats-server up; started upwards, stopped downwards."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from ipledger.cli.cluster import Cluster
from ipledger.cli.connection import Server
from ipledger.cli.credentials import forget_own, remember_own
from ipledger.cli.output import note
from ipledger.cli.own_access import OwnAccess
from ipledger.cli.role_agent import AgentOptions, running_agent
from ipledger.cli.role_controller import ControllerOptions, running_controller
from ipledger.cli.role_engine import (
    OwnOptions,
    asked_by,
    checkpoints,
    expose,
    reach_log,
    running,
    second_copy,
    snapshots,
)
from ipledger.cli.roles import Process, connected, either, serve
from ipledger.cni.probe import NO_PROBE, ProbeSettings
from ipledger.engine.engine import Engine
from ipledger.engine.listen import Listen
from ipledger.engine.metrics.exposition import Exposition
from ipledger.events.direct_log import DirectLog
from ipledger.events.embedded import EmbeddedServer
from ipledger.events.logs import DEFAULT_LOGS, LogSettings
from ipledger.events.nats_roles import Role
from ipledger.events.tasks import end
from ipledger.gc.settings import Settings
from ipledger.projections.exhaustion import Usage

_log = logging.getLogger(__name__)

_COMMAND_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What `ipledger up` was told."""

    data: Path
    socket: Path
    nats_port: int
    http: Listen
    node: str
    realm: str
    timeout_s: float
    checkpoint_every: int
    forecast_window_s: float
    cluster: Cluster
    collecting: Settings
    logs: LogSettings = DEFAULT_LOGS
    probe: ProbeSettings = NO_PROBE

    @property
    def own(self) -> OwnOptions:
        """What the engine keeps for itself."""
        return OwnOptions(self.data, self.checkpoint_every)


def run_up(options: UpOptions) -> None:
    """Run everything until a signal. Raises `CliError`."""
    files = f"{options.own.ledger} --data {options.data}"
    serve(lambda stop: _up(options, stop), Process("ipledger", options.node, options.logs), files)


async def _up(options: UpOptions, stop: asyncio.Event) -> None:
    own = OwnAccess(options.data, options.realm)
    async with _running_server(options, own) as url:
        server = Server(nats=url, realm=options.realm)
        engine_as = replace(server, nkey=own.seed_file(Role.ENGINE))
        agent_as = replace(server, nkey=own.seed_file(Role.NODE, options.node))
        async with (
            connected(engine_as, "engine", stop) as engine_nc,
            asked_by(engine_as, stop) as asked,
            connected(agent_as, "agent", stop) as agent_nc,
            second_copy(options.own, options.realm) as copy,
        ):
            log = await reach_log(engine_nc, copy.ledger, 1, stop)
            if log is None:
                return
            engine = Engine(
                log,
                engine_nc,
                options.realm,
                options.node,
                alone=True,
                second_copy=copy,
                checkpoints=checkpoints(options.own, options.realm),
                snapshots=snapshots(engine_nc, options.realm),
                monotonic=perf_counter,
                usage=Usage(options.forecast_window_s),
            )
            metrics = Exposition(options.realm)
            expose(engine, engine_nc, metrics)
            async with running(engine, asked, stop):
                if await either(engine.ready.wait(), stop):
                    controller_as = replace(server, nkey=own.seed_file(Role.CONTROLLER))
                    async with (
                        running_agent(_agent_options(options, server), agent_nc, metrics) as agent,
                        _controller(options, controller_as, stop, metrics),
                        _key_is_found(url, own.seed_file(Role.ADMIN)),
                    ):
                        note(
                            f"ready socket={options.socket.absolute()} nats={url} "
                            f"http={agent.http_url}"
                        )
                        await stop.wait()


def _agent_options(options: UpOptions, server: Server) -> AgentOptions:
    return AgentOptions(
        server,
        options.node,
        options.socket,
        options.data,
        options.http,
        options.timeout_s,
        options.cluster,
        options.logs,
        options.probe,
    )


@contextlib.asynccontextmanager
async def _controller(
    options: UpOptions, server: Server, stop: asyncio.Event, metrics: Exposition
) -> AsyncGenerator[None]:
    """The controller, where there is a cluster. Pods get addresses before it has listed all."""
    if not options.cluster.is_there:
        yield
        return
    told = ControllerOptions(
        server, options.cluster, Listen(), _COMMAND_TIMEOUT_S, options.collecting
    )
    async with (
        connected(server, "controller", stop) as nc,
        running_controller(told, nc, DirectLog(nc, options.realm), stop, metrics),
    ):
        yield


@contextlib.asynccontextmanager
async def _running_server(options: UpOptions, own: OwnAccess) -> AsyncGenerator[str]:
    options.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    server = EmbeddedServer(options.data, options.nats_port, own.accounts(options.node))
    await server.start()
    supervising = asyncio.create_task(server.supervise())
    try:
        yield server.url
    finally:
        await end(supervising)
        await server.stop()


@contextlib.asynccontextmanager
async def _key_is_found(url: str, key: Path) -> AsyncGenerator[None]:
    """Commands of the same user find the operator's key by the server's address meanwhile."""
    try:
        remember_own(url, key)
    except OSError as error:
        _log.warning("commands need --nkey %s here: %s", key, error)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            forget_own(url)
