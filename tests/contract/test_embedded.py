"""The embedded nats-server: alone on its data, dying with its owner, up again by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import nats
import nats.errors
import pytest
from support import owner

from ipledger.events.embedded import EmbeddedServer, EmbeddedServerError
from ipledger.events.jetstream import JetStreamLog
from ipledger.events.log import Appended, Entry


async def append(server: EmbeddedServer, payload: bytes, after: int) -> Appended:
    client = await nats.connect(server.url)
    log = await JetStreamLog.create(client, "default")
    outcome = await log.append(payload, after=after)
    assert isinstance(outcome, Appended)
    await client.close()
    return outcome


async def until_served(server: EmbeddedServer) -> None:
    """Wait until somebody listens on the server's port again."""
    async with asyncio.timeout(30):
        while True:
            try:
                await (await nats.connect(server.url, allow_reconnect=False)).close()
            except (OSError, nats.errors.Error):
                await asyncio.sleep(0.01)
            else:
                return


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return False
    return state not in "ZX"


async def until_dead(pid: int) -> None:
    async with asyncio.timeout(30):
        while is_alive(pid):  # noqa: ASYNC110, no event tells of a stranger's death
            await asyncio.sleep(0.01)


async def test_it_listens_on_loopback_alone_and_syncs_always(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    await server.start()
    config = (tmp_path / "nats.conf").read_text()
    assert "sync_interval: always" in config
    assert 'listen: "127.0.0.1:' in config
    await server.stop()


async def test_what_was_appended_is_there_after_a_restart_on_the_same_port(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    await server.start()
    url = server.url
    await append(server, b"one", 0)
    await server.stop()
    await server.start()

    assert server.url == url
    client = await nats.connect(server.url)
    log = await JetStreamLog.open(client, "default")
    assert [entry async for entry in log.read(0)] == [Entry(1, b"one")]
    await client.close()
    await server.stop()


async def test_stopping_ends_the_process_and_frees_the_directory(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    await server.start()
    pid = server.pid
    await server.stop()
    assert not is_alive(pid)

    again = EmbeddedServer(tmp_path)
    await again.start()
    await again.stop()


async def test_a_directory_in_use_is_refused_and_names_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ipledger.events.embedded._LOCK_TIMEOUT_S", 0.05)
    server = EmbeddedServer(tmp_path)
    await server.start()
    with pytest.raises(EmbeddedServerError, match=rf"in use by process {os.getpid()}\b"):
        await EmbeddedServer(tmp_path).start()
    assert is_alive(server.pid)
    await server.stop()


async def test_a_port_that_is_taken_is_an_error_with_the_end_of_the_log(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = EmbeddedServer(tmp_path, port=taken.getsockname()[1])
        with pytest.raises(EmbeddedServerError, match=r"(?s)before it was ready\n.*in use"):
            await server.start()


async def test_a_failed_start_lets_go_of_the_directory(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(EmbeddedServerError):
        await EmbeddedServer(tmp_path, port=taken.getsockname()[1]).start()
    server = EmbeddedServer(tmp_path)
    await server.start()
    await server.stop()


async def test_a_server_that_dies_is_started_again_on_the_same_port_and_data(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = EmbeddedServer(tmp_path)
    await server.start()
    supervision = asyncio.create_task(server.supervise())
    await append(server, b"one", 0)
    for after in (1, 2):
        url, pid = server.url, server.pid
        os.kill(pid, signal.SIGKILL)
        await until_dead(pid)
        await until_served(server)
        assert server.url == url
        assert await append(server, b"more", after) == Appended(after + 1)
    assert "nats-server ended with -9" in caplog.text
    supervision.cancel()
    await asyncio.wait([supervision])
    await server.stop()


async def test_stopping_behind_a_killed_server_frees_the_directory(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    await server.start()
    os.kill(server.pid, signal.SIGKILL)
    await server.stop()
    await server.start()
    await server.stop()


async def test_the_server_dies_with_its_owner_and_the_data_can_be_taken_over(
    tmp_path: Path,
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, owner.__file__, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        pid = int(await process.stdout.readline())
    assert is_alive(pid)
    process.kill()
    await process.communicate()

    server = EmbeddedServer(tmp_path)
    try:
        await server.start()
        assert not is_alive(pid)
        await server.stop()
    finally:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)
