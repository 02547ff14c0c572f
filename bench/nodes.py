"""The processes of `agents.py`: an API server double, agents of many nodes, and their kubelets.

    python nodes.py apiserver FOLDER
    python nodes.py agents FOLDER NATS FIRST COUNT
    python nodes.py kubelets FOLDER

Each agent is the one of `ipledger agent`, with a socket, an outbox, a connection to NATS and
watches of its own. The kubelets also are what binds pods to nodes: they read a line for each step
on stdin, and answer it on stdout with what came of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from support.apiserver import ApiServer
from support.apiserver.server import TOKEN
from support.kube import POOLS, defined, make

from ipledger.cli.cluster import Cluster
from ipledger.cli.connection import Server
from ipledger.cli.role_agent import AgentOptions, running_agent
from ipledger.cli.roles import connected
from ipledger.engine.listen import Listen
from ipledger.engine.metrics.exposition import Exposition
from ipledger.events.names import REALM_DEFAULT

NODES, PODS, LOST = 200, 10_000, 100
NAMESPACES, APPS, POOL_COUNT = 20, 100, 4
AT_ONCE = 64
SANDBOX_S = 0.2
"""From when a kubelet sees a pod to when its runtime calls the plugin."""

DELS = 2


def socket_of(folder: Path, node: int) -> Path:
    """Where the agent of a node listens."""
    return folder / f"n{node}.sock"


# The API server.


async def apiserver(folder: Path) -> None:
    """Serve until killed; say on stdout where, and then how many calls of a kind came."""
    server = ApiServer()
    await server.start()
    defined(server)
    for number in range(POOL_COUNT):
        subnet, ips = f"10.{number}.0.0/16", [f"10.{number}.0.1-10.{number}.16.0"]
        make(server, POOLS, f"pool-{number}", subnet=subnet, ips=ips)
    for number in range(NAMESPACES):
        pools = {"ipam.spidernet.io/default-ipv4-ippool": f'["pool-{number % POOL_COUNT}"]'}
        metadata = {"name": f"ns-{number}", "annotations": pools}
        server.create("v1", "namespaces", {"metadata": metadata})
    for number in range(NODES):
        server.create("v1", "nodes", {"metadata": {"name": f"node-{number}"}})
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        server.change("nodes", f"node-{number}", status=ready)
    for number in range(APPS):
        _application(server, number)
    server.kubeconfig(folder)
    print("ready", flush=True)
    reader = await _stdin()
    while await reader.readline():
        calls = Counter(f"{call.verb} {call.resource}" for call in server.calls)
        server.calls.clear()
        print(json.dumps(calls), flush=True)


def _application(server: ApiServer, number: int) -> None:
    namespace, metadata = f"ns-{number % NAMESPACES}", {"name": f"app-{number}"}
    made = server.create("apps/v1", "deployments", {"metadata": metadata}, namespace)
    owner = _owner("Deployment", f"app-{number}", made["metadata"]["uid"])
    owned = {"name": f"set-{number}", "ownerReferences": [owner]}
    server.create("apps/v1", "replicasets", {"metadata": owned}, namespace)


def _owner(kind: str, name: str, uid: str) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": kind, "controller": True, "name": name, "uid": uid}


# The agents.


async def agents(folder: Path, nats: str, first: int, count: int) -> None:
    """Run the agents of some nodes until killed."""
    server, stop = Server(nats=nats), asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        for node in range(first, first + count):
            data = folder / f"n{node}"
            data.mkdir()
            options = AgentOptions(
                server=server,
                node=f"node-{node}",
                socket=socket_of(folder, node),
                data=data,
                http=Listen(),
                timeout_s=60.0,
                cluster=Cluster(True, folder / "kubeconfig"),
            )
            nc = await stack.enter_async_context(connected(server, "agent", stop))
            await stack.enter_async_context(running_agent(options, nc, Exposition(REALM_DEFAULT)))
        print("ready", flush=True)
        await stop.wait()


# The kubelets.


class Kubelets:
    """Those of all nodes, at most AT_ONCE pods at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._sockets: dict[int, aiohttp.ClientSession] = {}
        self._uids: dict[int, str] = {}
        self._sets: dict[int, str] = {}
        config = json.loads((folder / "kubeconfig").read_text())
        self._url = config["clusters"][0]["cluster"]["server"]
        headers = {"Authorization": f"Bearer {TOKEN}"}
        self._api = aiohttp.ClientSession(
            self._url, headers=headers, connector=aiohttp.TCPConnector(limit=AT_ONCE)
        )
        self.took_ms: list[float] = []
        self.addresses: dict[str, str] = {}

    async def start(self) -> dict[str, Any]:
        """Know the owners, and connect to the agents."""
        for number in range(APPS):
            path = f"/apis/apps/v1/namespaces/ns-{number % NAMESPACES}/replicasets/set-{number}"
            self._sets[number] = (await self._call("GET", path))["metadata"]["uid"]
        for node in range(NODES):
            connector = aiohttp.UnixConnector(str(socket_of(self._folder, node)))
            self._sockets[node] = aiohttp.ClientSession("http://agent", connector=connector)
        return {}

    async def create(self) -> dict[str, Any]:
        """All pods appear, get their address, and run."""
        began = time.perf_counter()
        await self._all(self._create, range(PODS))
        took = time.perf_counter() - began
        return {"seconds": took, "took_ms": self.took_ms, "addresses": self.addresses}

    async def lose(self) -> dict[str, Any]:
        """Some pods vanish, and nobody tells the plugin."""
        await self._all(self._vanish, range(LOST))
        return {}

    async def delete(self) -> dict[str, Any]:
        """All others are deleted as pods are."""
        began = time.perf_counter()
        self.took_ms.clear()
        await self._all(self._delete, range(LOST, PODS))
        return {"seconds": time.perf_counter() - began, "took_ms": self.took_ms}

    async def _all(self, work: Callable[[int], Awaitable[None]], numbers: range) -> None:
        async def one(number: int) -> None:
            async with self._slots:
                await work(number)

        await asyncio.gather(*(one(number) for number in numbers))

    async def _create(self, number: int) -> None:
        app = number % APPS
        owner = _owner("ReplicaSet", f"set-{app}", self._sets[app])
        metadata = {"name": f"pod-{number}", "labels": {"app": f"app-{app}"}}
        body = {
            "metadata": {**metadata, "ownerReferences": [owner]},
            "spec": {"nodeName": f"node-{number % NODES}"},
        }
        path = _pods_of(number)
        made = await self._call("POST", path, body)
        self._uids[number] = made["metadata"]["uid"]
        await asyncio.sleep(SANDBOX_S)
        result = json.loads(await self._cni("ADD", number))
        address = result["ips"][0]["address"].partition("/")[0]
        self.addresses[f"pod-{number}"] = address
        status = {"status": {"phase": "Running", "podIPs": [{"ip": address}]}}
        await self._call("PATCH", f"{path}/pod-{number}/status", status)

    async def _vanish(self, number: int) -> None:
        now = {"gracePeriodSeconds": 0}
        await self._call("DELETE", f"{_pods_of(number)}/pod-{number}", now)

    async def _delete(self, number: int) -> None:
        await self._call("DELETE", f"{_pods_of(number)}/pod-{number}", {})
        for _ in range(DELS):
            await self._cni("DEL", number)
        await self._vanish(number)

    async def _call(self, method: str, path: str, body: object = None) -> Any:
        headers = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else {}
        async with self._api.request(method, path, json=body, headers=headers) as answer:
            assert answer.status < 300, (method, path, await answer.text())
            return await answer.json()

    async def _cni(self, command: str, number: int) -> bytes:
        uid, name = self._uids[number], f"pod-{number}"
        arguments = f"K8S_POD_NAMESPACE={_namespace(number)};K8S_POD_NAME={name};K8S_POD_UID={uid}"
        headers = {
            "Cni-Command": command,
            "Cni-Containerid": f"{number:064x}",
            "Cni-Netns": f"/var/run/netns/{name}",
            "Cni-Ifname": "eth0",
            "Cni-Args": arguments,
        }
        config = {"cniVersion": "1.0.0", "name": "net", "ipam": {"type": "ipledger"}}
        began = time.perf_counter()
        session = self._sockets[number % NODES]
        async with session.post("/cni", json=config, headers=headers) as answer:
            body = await answer.read()
        self.took_ms.append((time.perf_counter() - began) * 1000)
        assert answer.status == 200, body
        return body


def _namespace(number: int) -> str:
    return f"ns-{number % NAMESPACES}"


def _pods_of(number: int) -> str:
    return f"/api/v1/namespaces/{_namespace(number)}/pods"


async def kubelets(folder: Path) -> None:
    """Take steps until stdin ends."""
    made = Kubelets(folder)
    steps = {"start": made.start, "create": made.create, "lose": made.lose, "delete": made.delete}
    reader = await _stdin()
    while line := await reader.readline():
        print(json.dumps(await steps[line.decode().strip()]()), flush=True)


async def _stdin() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    return reader


async def main(what: str, folder: Path, *more: str) -> None:
    """Be one of the processes."""
    match what:
        case "apiserver":
            await apiserver(folder)
        case "agents":
            await agents(folder, more[0], int(more[1]), int(more[2]))
        case _:
            await kubelets(folder)


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvloop.run(main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
