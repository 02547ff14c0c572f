"""A node as tests use it: a real `ipledger up` with its own data, and the real shim."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from nats.aio.client import Client as NatsClient

from ipledger.engine.client import EngineClient
from ipledger.engine.commands import ApplyPool
from ipledger.engine.queries import AllocationsWhere
from ipledger.events.direct_log import DirectLog
from ipledger.events.facts import PoolSpec
from ipledger.events.names import REALM_DEFAULT
from ipledger.events.position import Position
from ipledger.projections.rows import AllocationRow, PoolRow
from support.keys import connect
from support.program import READY_TIMEOUT_S, Program, until

T = TypeVar("T")

ASK_TIMEOUT_S = 30.0
IPLEDGER = str(Path(sys.executable).with_name("ipledger"))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a CNI program ended, and what it printed."""

    code: int
    stdout: str

    @property
    def json(self) -> Any:
        """The result or error that was printed."""
        return json.loads(self.stdout)

    @property
    def addresses(self) -> list[str]:
        """The addresses of a result, with prefix length."""
        assert self.code == 0, self.stdout
        return [ip["address"] for ip in self.json["ips"]]


class Operator:
    """Asks the engines of a realm, as whoever runs it does."""

    nats_url: str
    realm: str

    def key(self, user: str) -> Path | None:
        """The key of a user of the servers, None where they ask for none."""
        return None

    def identity(self) -> dict[str, str]:
        """What tells a command who it is, beside the address of the servers."""
        key = self.key("admin")
        return {"IPLEDGER_NKEY": str(key)} if key is not None else {}

    async def as_user(self, user: str = "admin") -> NatsClient:
        """A client of NATS, as a user of the realm's servers."""
        return await connect(self.nats_url, self.key(user))

    def apply(self, *pools: PoolSpec) -> None:
        """Create or change pools; none may be refused."""

        async def apply(client: EngineClient) -> None:
            for pool in pools:
                await client.apply(ApplyPool(pool=pool))

        self.ask(apply)

    def pools(self) -> dict[str, PoolRow]:
        """The pools by name."""

        async def read(client: EngineClient) -> tuple[PoolRow, ...]:
            return (await client.pools()).pools

        return {row.name: row for row in self.ask(read)}

    def allocations(self) -> list[AllocationRow]:
        """The live allocations."""

        async def read(client: EngineClient) -> list[AllocationRow]:
            pages = client.allocations(AllocationsWhere())
            return [row async for page in pages for row in page.allocations]

        return self.ask(read)

    def ask(self, question: Callable[[EngineClient], Awaitable[T]]) -> T:
        """Run `question(client)` with a client that knows of everything in the log by now."""

        async def run() -> T:
            nc = await self.as_user()
            try:
                log = DirectLog(nc, self.realm)
                client = EngineClient(nc, self.realm, ASK_TIMEOUT_S)
                client.position = Position(await log.last(), 0)
                return await question(client)
            finally:
                await nc.close()

        return asyncio.run(run())

    def ipledger(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run an `ipledger` command against the realm."""
        return subprocess.run(
            [IPLEDGER, *arguments],
            env={
                **os.environ,
                "IPLEDGER_NATS": self.nats_url,
                "IPLEDGER_REALM": self.realm,
                "COLUMNS": "200",
                **self.identity(),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


class Runtime:
    """Calls the plugin of one node, as its container runtime does."""

    shim: Path
    socket: Path

    def config(self, cni_version: str = "1.0.0", **ipam: Any) -> dict[str, Any]:
        """A network configuration that names this node's agent."""
        section = {"type": "ipledger", "socket": str(self.socket), **ipam}
        return {"cniVersion": cni_version, "name": "net", "type": "bridge", "ipam": section}

    def cni(
        self,
        command: str,
        sandbox: str,
        config: Mapping[str, Any] | str | None = None,
        **env: str | None,
    ) -> Outcome:
        """Call the shim as a main plugin does. An environment value of None unsets it."""
        body = self.config() if config is None else config
        return run_cni(str(self.shim), command, sandbox, body, **env)


@dataclass
class Node(Operator, Runtime):
    """One machine: data directory, socket, process. `shim` is the installed plugin.

    With a kubeconfig, it belongs to a cluster.
    """

    root: Path
    shim: Path
    name: str = "node-1"
    kubeconfig: Path | None = None
    flags: Sequence[str] = ()
    """What `ipledger up` is told beside what every test tells it."""
    realm: str = field(default=REALM_DEFAULT, init=False)
    nats_url: str = field(default="", init=False)
    http_url: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self.socket = self.root / "agent.sock"
        command = [IPLEDGER, "up", "--data", str(self.root / "data"), "--socket", str(self.socket)]
        command += ["--nats-port", "0", "--http", "0", "--node", self.name, *self.flags]
        if self.kubeconfig is not None:
            command += ["--kubeconfig", str(self.kubeconfig)]
        config = {"XDG_CONFIG_HOME": str(self.root / "config")}
        self.program = Program("up", command, self.root, {**os.environ, **config})

    def key(self, user: str) -> Path:
        """See `Operator.key`."""
        return self.root / "data" / "access" / "keys" / f"{user}.nk"

    @property
    def own_key(self) -> str:
        """The user of this node's agent."""
        return f"node-{self.name}"

    def identity(self) -> dict[str, str]:
        """None: the key is found by the address of the server, as its owner finds it."""
        return {"XDG_CONFIG_HOME": str(self.root / "config")}

    @property
    def log(self) -> Path:
        """What `ipledger up` wrote to stderr since its last start."""
        return self.program.log

    @property
    def pid(self) -> int:
        """The process id of `ipledger up`."""
        return self.program.pid

    def start(self) -> None:
        """Run `ipledger up` until it says that it is ready."""
        self.program.launch()
        ready = self.program.line(r"^ready socket=\S+ nats=(\S+) http=(\S+)$")
        self.nats_url, self.http_url = ready.group(1), ready.group(2)

    def server_pid(self) -> int:
        """The process id of the nats-server that `ipledger up` runs now."""
        return until(self._find_server, READY_TIMEOUT_S)

    def _find_server(self) -> int | None:
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == self.pid and fields[0] != "Z":
                return int(stat.parent.name)
        return None

    def wait(self) -> int:
        """The exit code of an `ipledger up` that ends by itself."""
        return self.program.wait()

    def kill(self) -> None:
        """End `ipledger up` with SIGKILL."""
        self.program.kill()

    def pause(self) -> None:
        """Stop `ipledger up` where it is, until `resume`: callers wait."""
        self.program.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let `ipledger up` go on."""
        self.program.send(signal.SIGCONT)

    def stop(self) -> int:
        """Ask `ipledger up` to end, and return its exit code."""
        return self.program.stop()


def run_cni(
    program: str, command: str, sandbox: str, config: Mapping[str, Any] | str, **env: str | None
) -> Outcome:
    """Run a CNI program with the environment that a runtime gives it."""
    environment: dict[str, str | None] = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": sandbox,
        "CNI_NETNS": "/var/run/netns/none",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": "/usr/lib/cni",
        **env,
    }
    done = subprocess.run(
        program.split(),
        input=config if isinstance(config, str) else json.dumps(config),
        env={key: value for key, value in environment.items() if value is not None},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    return Outcome(done.returncode, done.stdout)
