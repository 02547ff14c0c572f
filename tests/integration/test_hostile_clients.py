"""The agent's two doors, and those who would keep them shut: slow, silent, endless, too many."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest
from nats.aio.client import Client as NatsClient

from ipledger.cni.agent import Agent
from ipledger.cni.handler import CniHandler
from ipledger.cni.outbox import Outbox
from ipledger.cni.outbox_sqlite import SqliteStore
from ipledger.engine.client import EngineClient
from ipledger.engine.metrics.exposition import Exposition

CONNECTIONS_MAX, ARRIVAL_S = 8, 0.3
HEAD = b"POST /cni HTTP/1.1\r\nHost: x\r\nCni-Command: STATUS\r\n"


@dataclass
class Doors:
    """An agent that listens."""

    agent: Agent

    async def cni(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the socket."""
        return await asyncio.open_unix_connection(str(self.agent.socket_path))

    async def side(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the side port."""
        return await asyncio.open_connection(
            "127.0.0.1", int(self.agent.http_url.rpartition(":")[2])
        )

    async def call(self, sent: bytes) -> bytes:
        """All that is answered on the socket until the agent hangs up."""
        reader, writer = await self.cni()
        writer.write(sent)
        async with asyncio.timeout(30):
            answer = await reader.read()
        writer.close()
        return answer

    async def is_well(self) -> bool:
        """Whether somebody who behaves is answered at once."""
        request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        return b"200 OK" in await self.call(request)


@pytest.fixture
async def doors(tmp_path: Path, nc: NatsClient, realm: str) -> AsyncGenerator[Doors]:
    client = EngineClient(nc, realm, 0.1)
    store = await SqliteStore.open(tmp_path / "agent.db")
    handler = CniHandler(client, Outbox(store, "node-1"), "node-1", 0.1)
    agent = Agent(handler, client, tmp_path / "agent.sock", Exposition(realm))
    agent.arrival_s, agent.connections_max = ARRIVAL_S, CONNECTIONS_MAX
    await agent.start()
    yield Doors(agent)
    await agent.stop()
    await store.close()


def test_the_socket_is_for_its_owner_alone(doors: Doors) -> None:
    assert stat.S_IMODE(doors.agent.socket_path.stat().st_mode) == 0o600


async def test_another_user_of_the_node_is_turned_away(doors: Doors, tmp_path: Path) -> None:
    """Even one that the file's mode would let in."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    for folder in (doors.agent.socket_path, *doors.agent.socket_path.parents):
        if folder.is_relative_to("/tmp"):
            folder.chmod(0o777)
    script = (
        "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
        "s.sendall(sys.argv[2].encode()); sys.stdout.write(s.recv(65536).decode())"
    )
    request = (HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}").decode()
    process = await asyncio.create_subprocess_exec(
        *("/usr/bin/python3", "-c", script, str(doors.agent.socket_path), request),
        stdout=asyncio.subprocess.PIPE,
        user=65534,
        cwd="/",
    )
    out, _ = await process.communicate()
    assert b"user 65534 may not use the agent's socket" in out


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /cni HTTP/1.1\r\n",
        HEAD,
        HEAD + b"Content-Length: 100\r\n",
    ],
)
async def test_who_does_not_end_its_request_is_hung_up_on(doors: Doors, sent: bytes) -> None:
    assert await doors.call(sent) == b""
    assert await doors.is_well()


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"Connection: close\r\nContent-Length: 100\r\n\r\n{",
        HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{    \r\n",
    ],
)
async def test_a_body_that_does_not_come_is_an_error(doors: Doors, sent: bytes) -> None:
    answer = await doors.call(sent)
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == 11
    assert b"stdin did not arrive within" in answer


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"Connection: close\r\nContent-Length: 1048577\r\n\r\n{",
        HEAD
        + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n"
        + b" " * 0x200000
        + b"\r\n0\r\n\r\n",
    ],
)
async def test_a_body_that_is_too_long_is_an_error(doors: Doors, sent: bytes) -> None:
    answer = await doors.call(sent)
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == 6
    assert b"stdin: larger than 1048576 bytes" in answer


async def test_a_head_that_is_too_long_is_refused(doors: Doors) -> None:
    assert b"400 Bad Request" in await doors.call(HEAD + b"X: " + b"x" * 200_000 + b"\r\n\r\n")
    assert await doors.is_well()


@pytest.mark.parametrize("sent", [b"\0\1\2\3\r\n\r\n", b"SSH-2.0-x\r\n\r\n", b"GET\r\n\r\n"])
async def test_what_is_not_http_is_refused(doors: Doors, sent: bytes) -> None:
    assert b"400 Bad Request" in await doors.call(sent)
    assert await doors.is_well()


async def test_slow_clients_hold_nobody_up(doors: Doors) -> None:
    slow = [await doors.cni() for _ in range(CONNECTIONS_MAX - 1)]
    for _, writer in slow:
        writer.write(HEAD)
    assert await doors.is_well()
    for _, writer in slow:
        writer.close()


async def test_too_many_are_told_to_try_again_and_there_is_room_later(doors: Doors) -> None:
    silent = [await doors.cni() for _ in range(CONNECTIONS_MAX)]
    answer = await doors.call(b"")
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == 11
    for reader, writer in silent:
        async with asyncio.timeout(30):
            assert await reader.read() == b""
        writer.close()
    assert await doors.is_well()


@pytest.mark.parametrize(
    "request_line",
    [
        b"POST /cni HTTP/1.1",
        b"POST /healthz HTTP/1.1",
        b"DELETE /metrics HTTP/1.1",
        b"GET /cni HTTP/1.1",
    ],
)
async def test_the_side_port_takes_no_command(doors: Doors, request_line: bytes) -> None:
    reader, writer = await doors.side()
    writer.write(request_line + b"\r\nHost: x\r\nCni-Command: ADD\r\nConnection: close\r\n\r\n")
    assert b"404 Not Found" in await reader.read()
    writer.close()


async def test_the_side_port_hangs_up_on_who_says_nothing(doors: Doors) -> None:
    reader, writer = await doors.side()
    async with asyncio.timeout(30):
        assert await reader.read() == b""
    writer.close()
