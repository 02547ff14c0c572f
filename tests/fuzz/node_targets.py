"""What comes to a node's agent: CNI calls as the shim sends them, and bytes on its socket."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from multidict import CIMultiDict
from support.memory_store import MemoryStore
from support.realm import Realm
from support.text import command

from fuzz.target import Run, check_text
from ipledger.cni.agent import Agent
from ipledger.cni.errors import CniError
from ipledger.cni.handler import CniHandler
from ipledger.cni.outbox import Outbox
from ipledger.cni.request import cni_version_of, parse
from ipledger.engine.commands import ApplyPool
from ipledger.engine.metrics.exposition import Exposition

_NODE = "n1"
_PATIENCE_S = 0.02
"""How long an agent is given to answer what may not be a whole request. Then the input ends."""


@contextmanager
def calls() -> Generator[Run]:
    """Lines `Header: value`, an empty line, and the network configuration."""

    def run(data: bytes) -> None:
        head, _, body = data.partition(b"\n\n")
        pairs = (line.partition(": ") for line in head.decode(errors="replace").split("\n"))
        headers = CIMultiDict((name, value) for name, _, value in pairs)
        try:
            parse(headers, body)
        except CniError as error:
            check_error(error.encode(cni_version_of(body)))

    yield run


def check_error(body: bytes) -> None:
    """A CNI error as the specification has it, of bounded size."""
    error = msgspec.json.decode(body)
    assert set(error) <= {"cniVersion", "code", "msg", "details"}
    check_text(error["msg"])
    assert len(error.get("details", "")) <= 65_540


@contextmanager
def connections() -> Generator[Run]:
    """Bytes on the agent's socket, and their end: the agent answers what it can, and serves on."""
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        path = Path(folder) / "agent.sock"
        realm = Realm()
        leader = runner.run(realm.leader("engine"))
        client = realm.client()
        pool = command("pool a 10.0.0.0/8 ips=10.0.0.1-10.9.0.0 default")
        assert isinstance(pool, ApplyPool)
        runner.run(client.apply(pool))
        handler = CniHandler(client, Outbox(MemoryStore(), _NODE), _NODE, add_timeout_s=2)
        agent = Agent(handler, client, path, Exposition("realm"))
        runner.run(agent.start())

        async def send(data: bytes) -> None:
            answer = await _exchange(path, data)
            if answer:
                assert answer.startswith(b"HTTP/"), answer[:100]
            assert (await _health(path)).startswith(b"HTTP/1.1 200")

        yield lambda data: runner.run(send(data))
        runner.run(agent.stop())
        runner.run(leader.kill())
        runner.run(leader.service.stop())


async def _exchange(path: Path, data: bytes) -> bytes:
    """What is answered to the data; an agent that waits for more of it gets none."""
    reader, writer = await asyncio.open_unix_connection(path)
    answer = b""
    try:
        writer.write(data)
        with contextlib.suppress(TimeoutError):
            answer = await asyncio.wait_for(reader.read(1), _PATIENCE_S)
        writer.write_eof()
        return answer + await reader.read()
    except ConnectionError:
        return answer
    finally:
        writer.close()


async def _health(path: Path) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    try:
        return await reader.read()
    finally:
        writer.close()
