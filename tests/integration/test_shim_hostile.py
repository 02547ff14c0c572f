"""The shim, sanitized, against peers that mean it no good, and against thousands of inputs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ipledger.cni.build import SHIM_SOURCE

FUZZ = Path(__file__).parents[1] / "fuzz"
SANITIZE = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
EXAMPLES = 20_000
PATIENCE = 60.0
GOOD = b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"ips":[{}]}'

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def compiled(source: Path, target: Path, *flags: str) -> Path:
    include = ("-I", str(SHIM_SOURCE.parent))
    command = ("cc", "-std=gnu11", *SANITIZE, *flags, *include, "-o", str(target), str(source))
    subprocess.run(command, check=True)
    return target


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that waits for a second only."""
    return compiled(SHIM_SOURCE, tmp_path_factory.mktemp("shim") / "shim", "-DANSWER_SECONDS=1")


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="shim-") as name:
        yield Path(name)


def test_inputs_near_the_corpus_break_no_rule_of_memory(tmp_path: Path) -> None:
    """Environment, stdin and answer in any pieces (tests/fuzz/shim.c); `make fuzz-shim` goes on."""
    harness = compiled(FUZZ / "shim.c", tmp_path / "harness")
    seeds = sorted(map(str, (FUZZ / "corpus" / "shim").iterdir()))
    done = subprocess.run(
        [harness, str(EXAMPLES), "7", *seeds], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"{EXAMPLES} examples\n"), done.stderr[-4000:]


@contextlib.asynccontextmanager
async def listening(path: Path, peer: Peer) -> AsyncGenerator[None]:
    """A peer answers at a path; in the end every connection is closed."""
    serving: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await peer(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_unix_server(serve, path, limit=1 << 20):
        yield
        await asyncio.gather(*filter(None, serving))


async def call(shim: Path, path: Path, stdin: bytes | None = None, **variables: str) -> Any:
    """What the shim says: the exit code and its output as JSON. It says nothing on stderr."""
    config = json.dumps({"cniVersion": "1.0.0", "ipam": {"socket": str(path)}}).encode()
    process = await asyncio.create_subprocess_exec(
        shim,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"CNI_COMMAND": "ADD", **variables},
    )
    stdin = config if stdin is None else stdin
    stdout, stderr = await asyncio.wait_for(process.communicate(stdin), PATIENCE)
    assert stderr == b""
    return process.returncode, json.loads(stdout)


async def request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head + await reader.readexactly(length)


async def test_an_answer_that_is_split_anywhere_is_read_whole(shim: Path, folder: Path) -> None:
    splits = iter(range(1, len(GOOD)))

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at = next(splits)
        writer.write(GOOD[:at])
        await writer.drain()
        await request(reader)
        writer.write(GOOD[at:])

    async with listening(folder / "a", peer):
        for _ in range(1, len(GOOD)):
            assert await call(shim, folder / "a") == (0, {"ips": [{}]})


async def test_an_answer_that_drips_is_given_up_at_the_deadline(shim: Path, folder: Path) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while not writer.is_closing():
            writer.write(b"X: y\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with listening(folder / "a", peer):
        code, error = await call(shim, folder / "a")
        assert (code, error["code"]) == (1, 11)
        assert error["msg"].endswith("no answer within 1 s")


async def test_a_peer_that_reads_nothing_is_given_up_at_the_deadline(
    shim: Path, folder: Path
) -> None:
    gone = asyncio.Event()

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()  # the reader takes twice its limit, and the kernel a little

    async with listening(folder / "a", peer):
        stdin = b'{"ipam":{"socket":"%s"}}' % os.fsencode(folder / "a")
        code, error = await call(shim, folder / "a", stdin.ljust(4 << 20))
        gone.set()
        assert (code, error["code"]) == (1, 11)
        assert error["msg"].endswith("no answer within 1 s")


async def test_a_connection_that_is_reset_in_an_answer_cuts_it_short(
    shim: Path, folder: Path
) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GOOD[:-5])
        await writer.drain()
        writer.transport.abort()  # with the request unread

    async with listening(folder / "a", peer):
        code, error = await call(shim, folder / "a")
        assert (code, error["code"]) == (1, 5)
        assert "is cut short" in error["msg"]


@pytest.mark.parametrize(
    "stdin", [b'{"ipam":{"socket":"/x', b'{"ipam":{"socket":"' + b"\x80" * 4096]
)
async def test_a_socket_whose_name_has_no_end_is_none(
    shim: Path, folder: Path, stdin: bytes
) -> None:
    """What stands behind it in memory is not its name."""
    code, error = await call(shim, folder / "a", stdin)
    assert (code, error["code"]) == (1, 11)
    assert "/run/ipledger/agent.sock" in error["msg"]


async def test_a_variable_of_the_largest_size_arrives(shim: Path, folder: Path) -> None:
    largest = "A=" + "x" * (128 * 1024 - len("CNI_ARGS=A=") - 1)
    seen: list[bytes] = []

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request(reader))
        writer.write(GOOD)

    async with listening(folder / "a", peer):
        assert await call(shim, folder / "a", CNI_ARGS=largest) == (0, {"ips": [{}]})
    assert f"\r\nCni-Args: {largest}\r\n".encode() in seen[0]
