"""A cluster's API server double with the custom resources, and a controller beside an engine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from nats.aio.client import Client as NatsClient

from ipledger.engine.client import EngineClient
from ipledger.engine.engine import Engine
from ipledger.engine.service import EngineService
from ipledger.events.jetstream import JetStreamLog
from ipledger.events.tasks import end
from ipledger.kube.controller import Controller
from ipledger.projections.cluster.live.connect import connected
from support.apiserver import ApiServer
from support.apiserver.writes import now

T = TypeVar("T")
Object = dict[str, Any]

API_VERSION = "spiderpool.spidernet.io/v2beta1"
FINALIZER = "spiderpool.spidernet.io"
POOLS, SUBNETS, RESERVATIONS = "spiderippools", "spidersubnets", "spiderreservedips"
ENDPOINTS = "spiderendpoints"
_KINDS = {POOLS: "SpiderIPPool", SUBNETS: "SpiderSubnet", RESERVATIONS: "SpiderReservedIP"}
_TIMEOUT_S = 30.0


def defined(server: ApiServer) -> ApiServer:
    """A server, once it has the custom resources and the namespace shop."""
    for plural, kind in _KINDS.items():
        server.define(API_VERSION, plural, kind, scope="Cluster")
    server.define(API_VERSION, ENDPOINTS, "SpiderEndpoint", has_status=False)
    server.create("v1", "namespaces", {"metadata": {"name": "shop"}})
    return server


def make(server: ApiServer, plural: str, name: str, **spec: Any) -> Object:
    """Create a pool, subnet or reservation."""
    return server.create(API_VERSION, plural, {"metadata": {"name": name}, "spec": spec})


def workload(server: ApiServer, plural: str, name: str, replicas: int, **annotations: str) -> str:
    """Create a controller of pods in shop, and return its UID. `__` in a key stands for `-`."""
    keys = {f"ipam.spidernet.io/{k.replace('__', '-')}": v for k, v in annotations.items()}
    spec = {"replicas": replicas, "template": {"metadata": {"annotations": keys}}}
    made = server.create("apps/v1", plural, {"metadata": {"name": name}, "spec": spec}, "shop")
    uid: str = made["metadata"]["uid"]
    return uid


def seen(server: ApiServer, plural: str, name: str, namespace: str = "") -> Object | None:
    """An object as it is now."""
    group = "" if plural in ("events", "pods") else "spiderpool.spidernet.io"
    return server.store.get(f"{plural}.{group}".rstrip("."), (namespace, name))


def warnings(server: ApiServer) -> list[tuple[str, str, str]]:
    """The Kubernetes Events so far: object, reason and message."""
    written = [e.after for e in server.store.events if e.resource == "events" and e.after]
    return [(e["involvedObject"]["name"], e["reason"], e["message"]) for e in written]


def condition(found: Object | None, kind: str) -> Object | None:
    """A condition of an object."""
    told = (found or {}).get("status", {}).get("conditions", [])
    return next((one for one in told if one["type"] == kind), None)


def holders(found: Object | None) -> dict[str, str]:
    """Who holds which address, as a pool's status has it."""
    text = (found or {}).get("status", {}).get("allocatedIPs", "{}")
    return {ip: of["pod"] for ip, of in json.loads(text).items()}


@dataclass
class Kube:
    """The double, an engine on a real nats-server, and a client of it."""

    server: ApiServer
    client: EngineClient
    nc: NatsClient
    realm: str
    kubeconfig: Path
    controllers: list[Controller] = field(default_factory=list[Controller])

    @contextlib.asynccontextmanager
    async def controlled(self, *, endpoints: bool = False) -> AsyncGenerator[Controller]:
        """A controller runs, and has listed everything."""
        async with connected(self.kubeconfig) as api:
            client = EngineClient(self.nc, self.realm, 10.0)
            log = JetStreamLog.of(self.nc, self.realm)
            controller = Controller(
                api, client, log, None, now, random.random, refused_again_s=0.2, endpoints=endpoints
            )
            task = asyncio.create_task(controller.run())
            try:
                await asyncio.wait_for(controller.ready.wait(), _TIMEOUT_S)
                yield controller
            finally:
                await end(task)
                if not task.cancelled():
                    task.result()

    async def until(self, check: Callable[[], T | None]) -> T:
        """What `check()` returns once it is true."""
        async with asyncio.timeout(_TIMEOUT_S):
            while not (found := check()):
                await self.server.store.wait(0.1)
        return found

    async def until_engine(self, check: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the engine answers once it is true."""
        async with asyncio.timeout(_TIMEOUT_S):
            while not (found := await check()):
                await self.server.store.wait(0.02)
        return found


@contextlib.asynccontextmanager
async def kube(nc: NatsClient, realm: str, folder: Path) -> AsyncGenerator[Kube]:
    """A cluster and an engine; no controller runs yet."""
    server = ApiServer()
    await server.start()
    defined(server)
    log = await JetStreamLog.create(nc, realm)
    engine = Engine(log, nc, realm, "engine", alone=True)
    service = EngineService(nc, engine)
    await service.start()
    running = asyncio.create_task(engine.run())
    try:
        await engine.ready.wait()
        yield Kube(server, EngineClient(nc, realm, 10.0), nc, realm, server.kubeconfig(folder))
    finally:
        engine.stop()
        await running
        await service.stop()
        await server.stop()


@dataclass
class ServerThread:
    """An API server double in a thread of its own, for tests that wait for processes."""

    server: ApiServer
    loop: asyncio.AbstractEventLoop

    def do(self, what: Callable[[ApiServer], T]) -> T:
        """Call `what(server)` in its thread."""

        async def call() -> T:
            return what(self.server)

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(_TIMEOUT_S)


@contextlib.contextmanager
def server_thread() -> Generator[ServerThread]:
    """A server that runs, with the custom resources."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = ApiServer()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(_TIMEOUT_S)
        made = ServerThread(server, loop)
        made.do(defined)
        yield made
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(_TIMEOUT_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_TIMEOUT_S)
        loop.close()
