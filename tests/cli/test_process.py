"""The installed `ipledger` as a process: how it starts, fails, is interrupted and is cut off."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import msgspec
from support.terminal import MANIFESTS, Cli

from ipledger import __version__
from ipledger.engine.client import EngineClient
from ipledger.engine.commands import ApplyPool
from ipledger.events.facts import PoolSpec

IPLEDGER = str(Path(sys.executable).with_name("ipledger"))
DEADLINE_S = 30.0


async def start(
    *arguments: str, stdout: int = asyncio.subprocess.PIPE
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        IPLEDGER,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
        preexec_fn=_can_be_interrupted,
    )


def _can_be_interrupted() -> None:
    """A shell has what it runs in the background ignore SIGINT, and that is inherited."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def finish(process: asyncio.subprocess.Process) -> tuple[str, str, int]:
    stdout, stderr = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert process.returncode is not None
    return (stdout or b"").decode(), stderr.decode(), process.returncode


async def test_a_server_that_is_not_there_is_one_clear_line(cli: Cli) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"nats://127.0.0.1:{unused.getsockname()[1]}"
        result = await finish(await start("get", "pools", "--nats", url))

    error = f"error: cannot connect to NATS at {url}: Connection refused"
    assert result == ("", f"{error} (set --nats or IPLEDGER_NATS)\n", 1)


async def test_a_password_in_the_url_is_not_printed(cli: Cli) -> None:
    result = await cli("status", "--nats", "nats://user:secret@127.0.0.1:1")

    assert result.code == 1
    assert "secret" not in result.stderr
    assert "nats://127.0.0.1:1" in result.stderr


async def test_a_server_that_does_not_answer_is_one_clear_line(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"nats://127.0.0.1:{silent.getsockname()[1]}"
        result = await cli("status", "--nats", url)

    error = f"error: cannot connect to NATS at {url}: no answer"
    assert (result.stdout, result.code) == ("", 1)
    assert result.stderr == f"{error} (set --nats or IPLEDGER_NATS)\n"


async def test_a_credentials_file_that_is_not_there_is_named(cli: Cli) -> None:
    result = await cli("status", "--creds", "/nowhere/user.creds")

    assert (result.stderr, result.code) == (
        "error: --creds: '/nowhere/user.creds' is not a file\n",
        2,
    )


async def test_follow_prints_each_event_as_it_comes_and_ends_quietly(
    cli: Cli, engine: EngineClient
) -> None:
    process = await start("log", "--follow", "-o", "jsonl")
    assert process.stdout is not None
    first = await asyncio.wait_for(process.stdout.readline(), DEADLINE_S)
    await engine.apply(ApplyPool(pool=PoolSpec("late", 4, "10.6.0.0/16")))
    second = await asyncio.wait_for(process.stdout.readline(), DEADLINE_S)
    process.send_signal(signal.SIGINT)
    stdout, stderr, code = await finish(process)

    assert msgspec.json.decode(first)["type"] == "LeadershipTaken"
    assert msgspec.json.decode(second)["pool"]["name"] == "late"
    assert (stdout, stderr, code) == ("", "", 130)


async def test_a_reader_that_goes_away_ends_the_command_quietly(
    cli: Cli, engine: EngineClient
) -> None:
    read_end, write_end = os.pipe()
    process = await start("log", stdout=write_end)
    os.close(write_end)
    os.close(read_end)

    assert await finish(process) == ("", "", 141)


async def test_a_full_disk_is_one_clear_line(cli: Cli, engine: EngineClient) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    process = await start("log", stdout=full)
    os.close(full)

    assert await finish(process) == ("", "error: [Errno 28] No space left on device\n", 1)


async def test_completion_is_written_for_the_shell_that_is_named(tmp_path: Path, cli: Cli) -> None:
    script = tmp_path / "ipledger.bash"
    arguments = ("--install-completion", "--shell", "bash", "--output", str(script))
    result = await cli(*arguments)

    assert result.code == 0, result.stderr
    assert "--follow" in script.read_text()
    bash = await asyncio.create_subprocess_exec("bash", "-n", script)
    assert await bash.wait() == 0


async def test_commands_do_not_load_what_they_do_not_need() -> None:
    code = (
        "import sys; from ipledger.cli.app import run; run(['get', '--help']);"
        "heavy = {'nats', 'yaml', 'netaddr', 'aiohttp', 'uvloop', 'msgspec'} & set(sys.modules);"
        "print(sorted(heavy), file=sys.stderr)"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        cwd=MANIFESTS,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )

    assert (await finish(process))[1:] == ("[]\n", 0)


async def test_a_dry_run_that_is_too_large_for_one_request_says_so(
    cli: Cli, engine: EngineClient, tmp_path: Path
) -> None:
    head = "apiVersion: spiderpool.spidernet.io/v2beta1\nkind: SpiderReservedIP\n"
    documents = (
        f"{head}metadata: {{name: r{n}}}\nspec: {{ips: [10.0.0.1]}}" for n in range(15_000)
    )
    file = tmp_path / "many.yaml"
    file.write_text("\n---\n".join(documents))

    result = await cli("apply", "-f", str(file), "--dry-run")

    assert (result.stdout, result.code) == ("", 1)
    assert result.stderr == (
        "error: the request is more than the 1048576 bytes that the NATS server takes\n"
    )


async def test_a_role_whose_url_is_none_ends_with_one_clear_line(tmp_path: Path) -> None:
    for role, *options in (
        ("engine",),
        ("agent", "--socket", str(tmp_path / "agent.sock"), "--data", str(tmp_path)),
    ):
        result = await finish(await start(role, "--nats", "foo:bar", "--http", "0", *options))

        assert result[2] == 1
        assert result[1].splitlines()[-1] == "error: nats: invalid connect url option"


async def test_a_role_whose_service_was_not_there_ends_to_be_started_again() -> None:
    url = "nats://$(IPLEDGER_NATS_SERVICE_HOST):4222"
    process = await start("engine", "--nats", url)
    said = f"error: --nats: '{url}' names a variable that is not set\n"
    assert await finish(process) == ("", said, 2)


async def test_kubectl_finds_the_command_as_a_plugin() -> None:
    plugins = {**os.environ, "PATH": f"{Path(IPLEDGER).parent}:{os.environ['PATH']}"}
    kubectl = await asyncio.create_subprocess_exec(
        "kubectl",
        "ipledger",
        "--version",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=plugins,
    )
    assert await finish(kubectl) == (f"ipledger {__version__}\n", "", 0)
