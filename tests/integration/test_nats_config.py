"""`ipledger nats-config`: real servers run on what it writes, and its keys can be changed."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import stat
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from support.certificates import Authority
from support.keys import connect, public_key
from support.node import IPLEDGER
from support.program import Program, until

from ipledger.events import names
from ipledger.events.embedded import find_server

SUBJECT = names.node_command("default", "worker-1", "confirm")


def ipledger(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [IPLEDGER, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture
def configure(tmp_path: Path, free_port: int) -> Callable[..., str]:
    """Runs the command, on a port of the test's own; it must succeed. Returns what it printed."""

    def run(*arguments: str) -> str:
        done = ipledger(
            *("nats-config", tmp_path / "nats", "--host", "127.0.0.1", "--port", str(free_port)),
            *("--store-dir", str(tmp_path / "store"), *arguments),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "nats"


@contextmanager
def running(config: Path) -> Generator[Program]:
    server = Program(config.stem, [find_server(), "--config", str(config)], config.parent)
    server.launch()
    try:
        server.line("Server is ready")
        yield server
    finally:
        server.kill()


def reload(server: Program, times: int = 1) -> None:
    server.send(signal.SIGHUP)
    until(lambda: server.log.read_text().count("Reloaded server configuration") == times, 30)


def key(folder: Path, user: str) -> Path:
    return folder / "keys" / f"{user}.nk"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_files_are_readable_by_their_owner_alone(
    configure: Callable[..., str], folder: Path
) -> None:
    configure("--node", "worker-1", "--server", "a=10.0.0.1", "--server", "b=10.0.0.2")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()}
    assert modes == {0o600}
    folders = [folder, folder / "keys"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}


def test_the_same_again_changes_nothing(configure: Callable[..., str], folder: Path) -> None:
    configure("--node", "worker-1", "--node", "worker-2")
    before = contents(folder)
    printed = configure("--node", "worker-2", "--node", "worker-1")
    assert contents(folder) == before
    assert set(re.findall(r" (new|kept|rotated|retired) ", printed)) == {"kept"}


def test_another_node_later_keeps_what_is_there(
    configure: Callable[..., str], folder: Path
) -> None:
    configure("--node", "worker-1", "--tls-cert", "/a.crt", "--tls-key", "/a.key")
    before = contents(folder)
    assert ipledger("nats-config", folder, "--node", "worker-2").returncode == 0
    after = contents(folder)
    assert set(after) - set(before) == {"keys/node-worker-2.nk"}
    assert {name for name in before if before[name] != after[name]} == {
        "accounts.conf",
        "access.json",
    }
    assert b'cert_file: "/a.crt"' in after["nats.conf"]
    accounts = after["accounts.conf"].decode()
    for user in ("node-worker-1", "node-worker-2", "engine"):
        assert public_key(key(folder, user)) in accounts


def test_no_seed_is_printed_or_in_the_configuration(
    configure: Callable[..., str], folder: Path
) -> None:
    printed = configure("--node", "worker-1")
    told = printed + "".join(path.read_text() for path in folder.glob("*") if path.is_file())
    for seed in (folder / "keys").glob("*.nk"):
        assert seed.read_text().strip() not in told


def test_seeds_may_be_moved_away(configure: Callable[..., str], folder: Path) -> None:
    configure("--node", "worker-1")
    config = (folder / "accounts.conf").read_text()
    for seed in (folder / "keys").glob("*.nk"):
        seed.unlink()
    configure()
    assert (folder / "accounts.conf").read_text() == config
    assert list((folder / "keys").glob("*.nk")) == []


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--node", "no_such.node"], 2, "node 'no_such.node'"),
        (["--realm", "a.b"], 2, "realm 'a.b'"),
        (["--rotate", "nobody"], 2, "user 'nobody'"),
        (["--rotate", "node-worker-9"], 1, "has no user node-worker-9"),
        (["--server", "a"], 2, "--server: 'a' is not NAME=HOST"),
        (["--tls-cert", "/a"], 2, "--tls-cert and --tls-key"),
        (["--tls-cert", "/a", "--tls-key", "/b", "--mutual"], 2, "--tls-ca"),
        (["--nodes", "/nowhere"], 2, "--nodes: /nowhere"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_written(
    tmp_path: Path, arguments: list[str], code: int, told: str
) -> None:
    done = ipledger("nats-config", tmp_path / "nats", *arguments)
    assert (done.returncode, told in done.stderr) == (code, True), done.stderr
    assert not (tmp_path / "nats/nats.conf").exists()


def test_another_realm_does_not_take_the_place_of_the_first(
    configure: Callable[..., str], folder: Path
) -> None:
    configure()
    done = ipledger("nats-config", folder, "--realm", "other")
    assert (done.returncode, "is of realm 'default'" in done.stderr) == (1, True)


async def test_a_key_is_changed_without_a_moment_without(
    configure: Callable[..., str], folder: Path, free_port: int
) -> None:
    """The old key is refused once it is retired; meanwhile every question is answered."""
    configure("--node", "worker-1")
    seed = key(folder, "node-worker-1")
    with running(folder / "nats.conf") as server:
        async with answering(folder, free_port) as answered:
            old = await agent(seed, free_port)
            await answered(old)
            configure("--rotate", "node-worker-1")
            reload(server, 1)
            await answered(old)
            new = await agent(seed, free_port)
            await answered(new)
            await answered(old)
            configure("--retire", "node-worker-1")
            reload(server, 2)
            await until_refused(old)
            await answered(new)
            await new.close()


def test_processes_take_up_the_key_that_is_put_into_their_file(
    configure: Callable[..., str], folder: Path, tmp_path: Path, free_port: int
) -> None:
    """Engine and agent, none of which is started again; a key that is not taken yet may wait."""
    configure("--node", "worker-1")
    nats = ("--nats", f"nats://127.0.0.1:{free_port}", "--http", "0", "--data", str(tmp_path))
    node = ("--node", "worker-1", "--socket", str(tmp_path / "agent.sock"))
    engine, agent = [
        Program(name, [IPLEDGER, name, *nats, *more, "--nkey", str(key(folder, user))], tmp_path)
        for name, user, more in (("engine", "engine", ()), ("agent", "node-worker-1", node))
    ]
    with running(folder / "nats.conf") as server:
        try:
            for program in (engine, agent):
                program.launch()
                program.line("^ready ")
            configure("--rotate", "node-worker-1", "--rotate", "engine")
            agent.line("does not take key")
            assert status(tmp_path / "agent.sock") == b"200"
            reload(server, 1)
            for program, connections in ((engine, 3), (agent, 1)):
                until(lambda: program.log.read_text().count("anew with") == connections, 30)  # noqa: B023
            configure("--retire", "node-worker-1", "--retire", "engine")
            reload(server, 2)
            assert status(tmp_path / "agent.sock") == b"200"
            assert engine.runs
        finally:
            for program in (agent, engine):
                program.stop()


def status(agent: Path) -> bytes:
    """The HTTP status with which an agent answers a CNI STATUS, which it asks the engine for."""
    body = b'{"cniVersion":"1.1.0","name":"net","type":"ipledger"}'
    head = b"POST /cni HTTP/1.1\r\nHost: x\r\nCni-Command: STATUS\r\nConnection: close\r\n"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(agent))
        connection.sendall(head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        return connection.recv(65536).split()[1]


def test_no_reply_that_an_engine_owes_is_kept_for_long(
    configure: Callable[..., str], folder: Path
) -> None:
    """nats-server remembers where each answer goes: two minutes of a flood are gigabytes."""
    configure()
    exports = re.findall(r'{service: "[^\n]*', (folder / "accounts.conf").read_text())
    kept = [re.findall(r'response_threshold: "(\w+)"', line) for line in exports]
    assert kept == [["5s"]] * 6 + [["1m"]] * 3


async def test_a_node_that_was_removed_is_refused_and_another_added_at_once(
    configure: Callable[..., str], folder: Path, free_port: int
) -> None:
    configure("--node", "worker-1")
    with running(folder / "nats.conf") as server:
        async with answering(folder, free_port) as answered:
            copy = folder / "copy.nk"
            copy.write_bytes(key(folder, "node-worker-1").read_bytes())
            gone = await agent(copy, free_port)
            configure("--node", "worker-2", "--remove", "node-worker-1")
            reload(server)
            await until_refused(gone)
            added = await agent(key(folder, "node-worker-2"), free_port)
            await answered(added, names.node_command("default", "worker-2", "confirm"))
            await added.close()
    assert not key(folder, "node-worker-1").exists()


async def test_a_key_for_all_nodes_is_made_only_where_it_is_asked_for(
    configure: Callable[..., str], folder: Path, free_port: int
) -> None:
    configure()
    assert not key(folder, "agents").exists()
    configure("--agents")
    with running(folder / "nats.conf"):
        async with answering(folder, free_port) as answered:
            shared = await agent(key(folder, "agents"), free_port)
            for node in ("worker-1", "worker-2"):
                await answered(shared, names.node_command("default", node, "confirm"))
            await shared.close()
    configure("--remove", "agents")
    assert "# agents\n" not in (folder / "accounts.conf").read_text()


@asynccontextmanager
async def answering(folder: Path, port: int) -> AsyncGenerator[Callable[..., Awaitable[None]]]:
    """Somebody with the engine's key answers nodes. Yields what asks, and fails without answer."""
    engine = await agent(key(folder, "engine"), port)

    async def answer(message: Msg) -> None:
        await message.respond(b"heard")

    await engine.subscribe("ipledger.default.cmd.node.*.*", cb=answer)
    await engine.flush()

    async def answered(client: NatsClient, subject: str = SUBJECT) -> None:
        assert (await client.request(subject, b"", timeout=10)).data == b"heard"

    try:
        yield answered
    finally:
        await engine.close()


async def agent(seed: Path, port: int) -> NatsClient:
    """A client that goes on trying, as an agent does."""
    return await connect(f"nats://127.0.0.1:{port}", seed, error_cb=_note, reconnect_time_wait=0.02)


async def _note(error: Exception) -> None:
    """nats-py keeps the last one."""


async def until_refused(client: NatsClient) -> None:
    """Wait until the server turns away a client that it had taken."""
    refusal = re.compile("authorization|authentication revoked", re.IGNORECASE)
    async with asyncio.timeout(30):
        while (  # noqa: ASYNC110, no event tells of it
            client.is_connected or not refusal.search(str(client.last_error))
        ):
            await asyncio.sleep(0.01)
    await client.close()


def test_everything_works_over_mutual_tls(
    configure: Callable[..., str], folder: Path, tmp_path: Path, free_port: int
) -> None:
    authority, files = Authority(), {end: tmp_path / f"tls.{end}" for end in ("crt", "key", "ca")}
    authority.issue(files["crt"], files["key"])
    files["ca"].write_bytes(authority.pem)
    own = ("--tls-ca", files["ca"], "--tls-cert", files["crt"], "--tls-key", files["key"])
    configure("--node", "worker-1", *map(str, own), "--mutual")
    url = ("--nats", f"tls://127.0.0.1:{free_port}")
    nkey = ("--nkey", key(folder, "engine"))
    command = [IPLEDGER, "engine", "--data", str(tmp_path / "engine"), "--http", "0"]
    engine = Program("engine", [*command, *map(str, (*url, *own, *nkey))], tmp_path)
    admin = ("--nkey", key(folder, "admin"))
    with running(folder / "nats.conf"):
        engine.launch()
        try:
            engine.line("^ready engine")
            assert ipledger("status", *url, *own, *admin).returncode == 0
            without_certificate = ipledger("status", *url, *own[:2], *admin)
            assert without_certificate.returncode == 1, without_certificate.stdout
            of_strangers = ipledger("status", *url, *admin)
            assert "certificate verify failed" in of_strangers.stderr
        finally:
            engine.stop()


def test_three_servers_find_each_other_and_keep_the_log_of_a_realm(
    folder: Path, tmp_path: Path, free_port: int
) -> None:
    hosts = {"a": "127.0.0.1", "b": "127.0.0.2", "c": "127.0.0.3"}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        cluster_port = taken.getsockname()[1]
    servers = [word for name, host in hosts.items() for word in ("--server", f"{name}={host}")]
    ports = ("--port", str(free_port), "--cluster-port", str(cluster_port))
    done = ipledger("nats-config", folder, *servers, *ports, "--store-dir", "STORE")
    assert done.returncode == 0, done.stderr
    for name, host in hosts.items():  # they share a machine here
        config = folder / f"{name}.conf"
        text = config.read_text().replace("0.0.0.0", host)
        config.write_text(text.replace("STORE", str(tmp_path / name)))
    nats = ("--nats", ",".join(f"nats://{host}:{free_port}" for host in hosts.values()))
    command = [IPLEDGER, "engine", "--replicas", "3", "--data", str(tmp_path / "engine")]
    command += ["--http", "0", *nats, "--nkey", str(key(folder, "engine"))]
    engine = Program("engine", command, tmp_path)
    with running(folder / "a.conf"), running(folder / "b.conf"), running(folder / "c.conf"):
        engine.launch()
        try:
            engine.line("^ready engine")
            admin = ("--nkey", key(folder, "admin"))
            until(lambda: "leader" in ipledger("status", *nats, *admin).stdout, 30)
            auditor = ("--nkey", key(folder, "auditor"))
            until(lambda: "LeadershipTaken" in ipledger("log", *nats, *auditor).stdout, 30)
        finally:
            engine.stop()
