"""The real shim against a scripted agent: what it sends, what it prints, what it survives."""

import asyncio
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ipledger.cni.build import SHIM_SOURCE, ShimBuildError, build_shim

PATIENCE = 30.0
MIB = 1 << 20
REFUSAL = b'{"cniVersion":"1.0.0","code":101,"msg":"pool a is exhausted","details":"a: full"}'
SANITIZE = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def compile_shim(target: Path, *flags: str) -> Path:
    subprocess.run(["cc", "-std=c11", *flags, "-o", target, SHIM_SOURCE], check=True)
    return target


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("shim")
    build_shim(SHIM_SOURCE, folder / "release")
    sanitized = compile_shim(folder / "sanitized", *SANITIZE)
    return {"release": folder / "release", "sanitized": sanitized}


@pytest.fixture(params=["release", "sanitized"])
def shim(request: pytest.FixtureRequest, programs: dict[str, Path]) -> Path:
    return programs[request.param]


@dataclass
class Agent:
    """Answers each connection with a script and keeps what was sent to it."""

    path: Path
    script: Script
    requests: list[bytes] = field(default_factory=list[bytes])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await self.script(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def read_request(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        self.requests.append(head + await reader.readexactly(length))

    def answers(self, *pieces: bytes) -> None:
        """Send each piece by itself after the whole request was read, then close."""

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self.read_request(reader)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)

        self.script = script


async def hang_up(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Close at once."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: a socket's path has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="shim-") as name:
        yield Path(name)


@pytest.fixture
async def agent(folder: Path) -> AsyncIterator[Agent]:
    double = Agent(folder / "agent.sock", hang_up)
    server = await asyncio.start_unix_server(double.serve, double.path, limit=16 * MIB)
    async with server:
        yield double


@dataclass(frozen=True)
class Outcome:
    code: int
    stdout: bytes

    def error(self) -> dict[str, Any]:
        """The CNI error on stdout, complete as the specification has it."""
        assert self.code == 1
        found: dict[str, Any] = json.loads(self.stdout)
        assert set(found) == {"cniVersion", "code", "msg", "details"}
        return found


async def call(shim: Path, stdin: bytes, **variables: str) -> Outcome:
    process = await asyncio.create_subprocess_exec(
        shim, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=variables
    )
    stdout, stderr = await asyncio.wait_for(process.communicate(stdin), PATIENCE)
    assert stderr == b""
    assert process.returncode is not None
    return Outcome(process.returncode, stdout)


def config(agent: Agent, **more: Any) -> bytes:
    ipam = {"type": "ipledger", "socket": str(agent.path)}
    return json.dumps({"cniVersion": "0.4.0", "name": "n", "ipam": ipam, **more}).encode()


def response(body: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


async def test_the_request_carries_the_call_exactly(shim: Path, agent: Agent) -> None:
    agent.answers(response(b"{}"))
    stdin = config(agent, prevResult={"ips": [1, 2]}, name="\N{SNOWMAN}") + b"\n \x00"

    before = time.monotonic_ns() // 1000
    await call(
        shim,
        stdin,
        CNI_COMMAND="DEL",
        CNI_CONTAINERID="c1",
        CNI_NETNS="",
        CNI_IFNAME="eth0",
        CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAME=p: q",
        TRACEPARENT="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        HOME="/root",
    )

    started = int(agent.requests[0].partition(b"Ipledger-Started: ")[2].partition(b"\r")[0])
    assert before <= started <= time.monotonic_ns() // 1000
    assert agent.requests == [
        b"POST /cni HTTP/1.1\r\nHost: ipledger\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\n"
        b"Cni-Command: DEL\r\nCni-Containerid: c1\r\nCni-Netns: \r\nCni-Ifname: eth0\r\n"
        b"Cni-Args: IgnoreUnknown=1;K8S_POD_NAME=p: q\r\n"
        b"Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
        b"Ipledger-Started: %d\r\nContent-Length: %d\r\n\r\n%s" % (started, len(stdin), stdin)
    ]


async def test_success_is_printed_as_it_is_with_exit_0(shim: Path, agent: Agent) -> None:
    agent.answers(response(b'{"ips":[\xff]}\n'))
    assert await call(shim, config(agent), CNI_COMMAND="ADD") == Outcome(0, b'{"ips":[\xff]}\n')


async def test_success_without_a_body_prints_nothing(shim: Path, agent: Agent) -> None:
    agent.answers(response(b""))
    assert await call(shim, config(agent), CNI_COMMAND="DEL") == Outcome(0, b"")


async def test_the_agents_own_error_is_printed_as_it_is_with_exit_1(
    shim: Path, agent: Agent
) -> None:
    agent.answers(response(REFUSAL, "409 Conflict"))
    assert await call(shim, config(agent), CNI_COMMAND="ADD") == Outcome(1, REFUSAL)


async def test_version_needs_no_agent(shim: Path) -> None:
    stdin = b'{"ipam":{"socket":"/nowhere"},"cniVersion":"0.3.1"}'
    outcome = await call(shim, stdin, CNI_COMMAND="VERSION")
    assert outcome.code == 0
    assert json.loads(outcome.stdout) == {
        "cniVersion": "0.3.1",
        "supportedVersions": ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
    }


@pytest.mark.parametrize(
    "stdin",
    [
        b"",
        b"{",
        b"null",
        b"[" * 100_000,
        b'{"cniVersion":4}',
        b'{"cniVersion":""}',
        b'{"cniVersion":"' + b"1" * 5000 + b'"}',
        b'{"a":{"cniVersion":"0.1.0"},"cniVersion\\u0000":"0.1.0"}',
        b'{"a":' + b"[" * 100_000 + b'"cniVersion":"0.1.0"',
        b'{"cniVersion":"0.1.0\\u00',
        b'{"cniVersion":"0.1.0\\',
    ],
    ids=lambda stdin: repr(stdin[:24]),
)
async def test_version_is_1_0_0_where_stdin_names_none(shim: Path, stdin: bytes) -> None:
    outcome = await call(shim, stdin, CNI_COMMAND="VERSION")
    assert json.loads(outcome.stdout)["cniVersion"] == "1.0.0"


async def test_an_absent_agent_is_code_11_with_its_path(shim: Path, folder: Path) -> None:
    path = str(folder / "agent.sock")
    stdin = json.dumps({"cniVersion": "0.3.0", "ipam": {"socket": path}}).encode()
    assert (await call(shim, stdin, CNI_COMMAND="ADD")).error() == {
        "cniVersion": "0.3.0",
        "code": 11,
        "msg": f"the ipledger agent does not answer at {path}: No such file or directory",
        "details": "is `ipledger up` running on this node?",
    }


async def test_a_socket_without_a_listener_is_code_11(shim: Path, folder: Path) -> None:
    double = Agent(folder / "agent.sock", hang_up)
    server = await asyncio.start_unix_server(double.serve, double.path)
    server.close()
    await server.wait_closed()
    assert double.path.exists()

    error = (await call(shim, config(double), CNI_COMMAND="ADD")).error()
    assert error["code"] == 11
    assert error["msg"].endswith("Connection refused")


@pytest.mark.parametrize("stdin", [b"", b"{}", b'{"ipam":{}}', b'{"ipam":{"socket":7}}', b"}"])
async def test_the_default_socket_is_used_where_stdin_names_none(shim: Path, stdin: bytes) -> None:
    """Provided that no agent runs on the test machine."""
    error = (await call(shim, stdin, CNI_COMMAND="ADD")).error()
    assert error["code"] == 11
    assert "/run/ipledger/agent.sock" in error["msg"]


@pytest.mark.parametrize("variables", [{}, {"CNI_COMMAND": ""}])
async def test_a_missing_command_is_code_4(
    shim: Path, agent: Agent, variables: dict[str, str]
) -> None:
    error = (await call(shim, config(agent), **variables)).error()
    assert (error["code"], error["cniVersion"]) == (4, "0.4.0")
    assert "CNI_COMMAND" in error["msg"]


@pytest.mark.parametrize("value", ["a\r\nCni-Command: DEL", "\t", "\x7f"])
@pytest.mark.parametrize("name", ["CNI_ARGS", "CNI_CONTAINERID", "TRACEPARENT", "CNI_COMMAND"])
async def test_a_control_character_is_refused_and_nothing_is_sent(
    shim: Path, agent: Agent, name: str, value: str
) -> None:
    agent.answers(response(b"{}"))
    error = (await call(shim, config(agent), **({"CNI_COMMAND": "ADD"} | {name: value}))).error()
    assert error["code"] == 4
    assert name in error["msg"]
    assert agent.requests == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"ipam":{"socket":"/nowhere"},"ipam":{"socket":', b"}}"),
        (b'{"ipam":{"a":{"socket":"/nowhere"},"socket":', b',"b":[{},[],"]",-1e9,true]}}'),
        (b'{"x":"\\"ipam\\":{}","socket":"/nowhere","\\u0069pam" : {\n"sock\\u0065t"\t:', b"}}"),
        (b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b',"ipam":{"socket":', b"}}"),
        (b'{"ipam":{"socket":', b"},,, not JSON at all"),
    ],
)
async def test_the_socket_is_found_among_anything(
    shim: Path, agent: Agent, before: bytes, after: bytes
) -> None:
    agent.answers(response(b"{}"))
    path = json.dumps(str(agent.path)).encode().replace(b"/", b"\\/").replace(b"a", b"\\u0061")
    assert await call(shim, before + path + after, CNI_COMMAND="ADD") == Outcome(0, b"{}")
    assert agent.requests[0].endswith(before + path + after)


async def test_quotes_and_backslashes_in_the_sockets_path(shim: Path, folder: Path) -> None:
    double = Agent(folder / 'a "b" \\ é.sock', hang_up)
    double.answers(response(b"{}"))
    stdin = json.dumps({"ipam": {"socket": str(double.path)}}, ensure_ascii=False).encode()
    async with await asyncio.start_unix_server(double.serve, double.path):
        assert await call(shim, stdin, CNI_COMMAND="ADD") == Outcome(0, b"{}")


@pytest.mark.parametrize(
    "path",
    ["", "/" + "x" * 107, "/" + "é" * 100_000, "/a\x00b", "/a\nb", "/\N{SNOWMAN}"],
    ids=lambda path: repr(path[:12]),
)
async def test_an_impossible_path_is_code_7_naming_field_and_value(shim: Path, path: str) -> None:
    stdin = json.dumps({"ipam": {"socket": path}}).encode()
    error = (await call(shim, stdin, CNI_COMMAND="ADD")).error()
    assert error["code"] == 7
    shown = json.dumps(path)[1:-1]
    assert error["msg"].startswith(f'ipam.socket cannot be used as a path: "{shown[:200]}')


async def test_the_longest_path_is_used_whole(shim: Path) -> None:
    path = "/nowhere" + "x" * 99
    error = (
        await call(shim, b'{"ipam":{"socket":"%s"}}' % path.encode(), CNI_COMMAND="ADD")
    ).error()
    assert error["code"] == 11
    assert path + ": " in error["msg"]


async def test_stdin_of_4_mib_arrives_and_one_byte_more_is_code_6(shim: Path, agent: Agent) -> None:
    agent.answers(response(b"{}"))
    largest = config(agent).ljust(4 * MIB)
    assert await call(shim, largest, CNI_COMMAND="ADD") == Outcome(0, b"{}")
    assert agent.requests[0].endswith(b"\r\n\r\n" + largest)

    error = (await call(shim, largest + b" ", CNI_COMMAND="ADD")).error()
    assert (error["code"], error["cniVersion"]) == (6, "0.4.0")
    assert "larger than 4 MiB" in error["msg"]
    assert len(agent.requests) == 1


async def test_an_answer_in_single_bytes(shim: Path, agent: Agent) -> None:
    whole = response(REFUSAL, "500 No") + b"ignored"
    agent.answers(*(whole[i : i + 1] for i in range(len(whole))))
    assert await call(shim, config(agent), CNI_COMMAND="ADD") == Outcome(1, REFUSAL)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.0 200\r\nServer: x\r\ncontent-LENGTH:\t 4  \r\nX: Content-Length: 9\r\n\r\n",
    ],
)
async def test_other_ways_to_write_an_answer(shim: Path, agent: Agent, head: bytes) -> None:
    agent.answers(head + b"{ }\n")
    assert await call(shim, config(agent), CNI_COMMAND="ADD") == Outcome(0, b"{ }\n")


async def test_an_answer_of_almost_4_mib_is_printed_whole(shim: Path, agent: Agent) -> None:
    body = bytes(range(256)) * (4 * MIB // 256 - 1)
    agent.answers(response(body))
    assert await call(shim, config(agent), CNI_COMMAND="ADD") == Outcome(0, body)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"H", "is cut short"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", "is cut short"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", "is cut short"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "is not HTTP"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "is not HTTP"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "is not HTTP"),
        (b"HTTP/1.1 20\r\n\r\n", "is not HTTP"),
        (b"\x00\xff" * 100, "is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "has a wrong Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", "has a wrong Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2 2\r\n\r\n", "has a wrong Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n", "is larger than 4 MiB"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 99 + b"\r\n\r\n", "is larger than 4 MiB"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}", "has a Transfer-Enc"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * MIB, "is larger than 4 MiB"),
    ],
    ids=lambda value: repr(value[:40]),
)
async def test_a_bad_answer_is_code_5(
    shim: Path, agent: Agent, answer: bytes, message: str
) -> None:
    agent.answers(answer)
    error = (await call(shim, config(agent), CNI_COMMAND="ADD")).error()
    assert error["code"] == 5
    assert message in error["msg"]
    assert str(agent.path) in error["msg"]


async def test_an_answer_that_never_ends_is_code_5(shim: Path, agent: Agent) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await agent.read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    agent.script = script
    error = (await call(shim, config(agent), CNI_COMMAND="ADD")).error()
    assert error["code"] == 5
    assert "is larger than 4 MiB" in error["msg"]


async def test_an_error_page_is_wrapped_into_a_cni_error(shim: Path, agent: Agent) -> None:
    page = b'<h1>"502"\\\r\n\x00\xff\xe2\x82</h1>' + "é".encode() * 300
    agent.answers(response(page, "502 Bad Gateway"))
    error = (await call(shim, config(agent), CNI_COMMAND="ADD")).error()
    assert error["code"] == 5
    shown = '<h1>"502"\\   \ufffd\ufffd\ufffd</h1>'
    assert error["details"] == f"status 502: {shown}{'é' * 180}..."


async def test_a_connection_closed_without_an_answer_is_code_11(shim: Path, agent: Agent) -> None:
    agent.script = hang_up
    error = (await call(shim, config(agent).ljust(MIB), CNI_COMMAND="ADD")).error()
    assert error["code"] == 11
    assert "closed before an answer" in error["msg"]


async def test_an_answer_before_the_request_was_read_counts(shim: Path, agent: Agent) -> None:
    async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(response(REFUSAL, "413 Too Large"))
        await writer.drain()

    agent.script = script
    outcome = await call(shim, config(agent).ljust(4 * MIB), CNI_COMMAND="ADD")
    assert outcome == Outcome(1, REFUSAL)


async def test_an_agent_that_stays_silent_is_code_11(agent: Agent, folder: Path) -> None:
    async def script(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await agent.read_request(reader)
        assert await reader.read() == b""

    agent.script = script
    impatient = compile_shim(folder / "impatient", *SANITIZE, "-DANSWER_SECONDS=1")
    error = (await call(impatient, config(agent), CNI_COMMAND="ADD")).error()
    assert error["code"] == 11
    assert error["msg"].endswith("no answer within 1 s")


async def test_more_calls_at_once_than_the_agents_accept_queue_holds(folder: Path) -> None:
    build_shim(SHIM_SOURCE, folder / "shim")
    double = Agent(folder / "agent.sock", hang_up)
    double.answers(response(b"{}"))
    async with await asyncio.start_unix_server(double.serve, double.path, backlog=1):
        calls = [call(folder / "shim", config(double), CNI_COMMAND="ADD") for _ in range(100)]
        assert await asyncio.gather(*calls) == [Outcome(0, b"{}")] * 100


def test_the_build_is_one_static_executable(programs: dict[str, Path]) -> None:
    assert programs["release"].stat().st_mode & 0o777 == 0o755
    described = subprocess.run(["ldd", programs["release"]], capture_output=True, text=True)
    assert "not a dynamic executable" in described.stdout + described.stderr
    assert [p.name for p in programs["release"].parent.iterdir() if p.name.startswith(".")] == []


def test_a_failed_build_shows_the_compilers_words_and_keeps_the_old_program(folder: Path) -> None:
    (folder / "bad.c").write_text("int main(void) { return nonsense; }\n")
    (folder / "shim").write_bytes(b"old")
    with pytest.raises(ShimBuildError, match="nonsense"):
        build_shim(folder / "bad.c", folder / "shim")
    assert (folder / "shim").read_bytes() == b"old"
    assert {p.name for p in folder.iterdir()} == {"bad.c", "shim"}


def test_a_build_without_a_compiler_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    assert shutil.which("cc") is None
    with pytest.raises(ShimBuildError, match="install musl-tools or gcc"):
        build_shim(SHIM_SOURCE, folder / "shim")


async def test_status_without_an_agent_is_code_50(shim: Path, folder: Path) -> None:
    stdin = json.dumps({"cniVersion": "1.1.0", "ipam": {"socket": f"{folder}/none"}}).encode()
    error = (await call(shim, stdin, CNI_COMMAND="STATUS")).error()
    assert (error["cniVersion"], error["code"]) == ("1.1.0", 50)
