"""The node agent as a role: it listens at once, whether or not NATS is there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

from nats.aio.client import Client as NatsClient

from ipledger.cli.cluster import NO_CLUSTER, Cluster
from ipledger.cli.connection import Server
from ipledger.cli.output import note
from ipledger.cli.roles import Process, connected, serve
from ipledger.cni.agent import Agent
from ipledger.cni.handler import CniHandler
from ipledger.cni.metrics import REGISTRY, OutboxMetrics
from ipledger.cni.outbox import Outbox
from ipledger.cni.outbox_sqlite import SqliteStore
from ipledger.cni.pod_view import PodView
from ipledger.cni.probe import NO_PROBE, Probe, ProbeSettings
from ipledger.cni.proving import Proving
from ipledger.engine.client import EngineClient
from ipledger.engine.listen import Listen
from ipledger.engine.metrics.client_metrics import ClientMetrics
from ipledger.engine.metrics.exposition import Exposition
from ipledger.engine.metrics.metric import Role
from ipledger.engine.metrics.watch_metrics import WatchMetrics
from ipledger.events.logs import DEFAULT_LOGS, LogSettings


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """What an agent was told. `data` is the directory of its outbox.

    In a cluster, its API server completes what the runtime says of a pod.
    """

    server: Server
    node: str
    socket: Path
    data: Path
    http: Listen
    timeout_s: float
    cluster: Cluster = NO_CLUSTER
    logs: LogSettings = DEFAULT_LOGS
    probe: ProbeSettings = NO_PROBE


def run_agent(options: AgentOptions) -> None:
    """Run one agent until a signal. Raises `CliError`."""
    serve(lambda stop: _agent(options, stop), Process("ipledger-agent", options.node, options.logs))


async def _agent(options: AgentOptions, stop: asyncio.Event) -> None:
    async with (
        connected(options.server, "agent", stop) as nc,
        running_agent(options, nc, Exposition(options.server.realm)) as agent,
    ):
        note(
            f"ready socket={options.socket.absolute()} nats={options.server.shown} "
            f"http={agent.http_url}"
        )
        await stop.wait()


@contextlib.asynccontextmanager
async def running_agent(
    options: AgentOptions, nc: NatsClient, metrics: Exposition
) -> AsyncGenerator[Agent]:
    """An agent that listens; in the end it has answered what had come. Raises `ProbeError`."""
    options.probe.check()
    client = EngineClient(nc, options.server.realm, options.timeout_s)
    store = await SqliteStore.open(options.data / "agent.db")
    try:
        async with _pods(options, metrics) as pods:
            outbox = Outbox(store, options.node)
            waiting = OutboxMetrics(outbox)
            metrics.add_role(Role.AGENT, nc)
            metrics.add(REGISTRY)
            metrics.add(ClientMetrics(client, Role.AGENT))
            metrics.add(waiting, waiting.refresh)
            handler = CniHandler(
                client, outbox, options.node, options.timeout_s, pods, Proving(Probe(options.probe))
            )
            agent = Agent(handler, client, options.socket, metrics, options.http)
            try:
                await agent.start()
                yield agent
            finally:
                await agent.stop()
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def _pods(options: AgentOptions, metrics: Exposition) -> AsyncGenerator[PodView | None]:
    """What the cluster knows of pods, None where there is no cluster."""
    if options.cluster.is_there:
        from ipledger.cni.cluster_view import cluster_view

        async with cluster_view(options.cluster.kubeconfig, options.node) as view:
            metrics.add(WatchMetrics(Role.AGENT, view.watches))
            yield view
    else:
        yield None
