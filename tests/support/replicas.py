"""Several `ipledger engine` processes and agents of one realm."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ipledger.engine.client import EngineClient
from ipledger.engine.metrics import table
from support.node import IPLEDGER, Operator, Runtime
from support.program import Program, until

TAKEOVER_TIMEOUT_S = 30.0
_AGENT_READY = r"^ready socket=\S+ nats=\S+ http=(\S+)$"


class EngineProgram(Program):
    """An `ipledger engine`."""

    def wait_ready(self) -> str:
        """Wait until it can be asked. Returns the URL of its health server."""
        return self.line(r"^ready engine=\S+ nats=\S+ http=(\S+)$").group(1)

    def health(self) -> tuple[int, str]:
        """What it says of itself over HTTP: a status, and its role."""
        try:
            with urllib.request.urlopen(f"{self.wait_ready()}/healthz", timeout=5) as answer:
                return answer.status, answer.read().decode().strip()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode().strip()

    def becomes(self, role: str) -> None:
        """Wait until it says that it has this role."""
        until(lambda: self.health() == (200, role), TAKEOVER_TIMEOUT_S)


@dataclass
class AgentProgram(Runtime):
    """An `ipledger agent` with its socket, and the shim to call it by."""

    program: Program
    socket: Path
    shim: Path

    def start(self) -> None:
        """Run it until it listens."""
        self.program.launch()
        self.program.line(_AGENT_READY)

    def retries(self) -> int:
        """How often it has asked an engine once more, by its metrics."""
        url = self.program.line(_AGENT_READY)[1]
        with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
            text: str = answer.read().decode()
        counted = re.findall(rf"^{table.CLIENT_RETRIES.name}{{.*}} (\S+)$", text, re.MULTILINE)
        return int(sum(map(float, counted)))


@dataclass
class Replicas(Operator):
    """Engines and agents of one realm on the NATS servers at `nats_url`."""

    root: Path
    nats_url: str
    realm: str
    shim: Path
    replicas: int = 1
    engines: list[EngineProgram] = field(default_factory=list[EngineProgram], init=False)
    agents: list[AgentProgram] = field(default_factory=list[AgentProgram], init=False)

    def add_engine(self) -> EngineProgram:
        """One more engine; not started yet."""
        name = f"engine-{len(self.engines) + 1}"
        command = [IPLEDGER, "engine", "--nats", self.nats_url, "--realm", self.realm]
        command += ["--name", name, "--replicas", str(self.replicas), "--http", "0"]
        command += ["--data", str(self.root / name)]
        self.engines.append(EngineProgram(name, command, self.root))
        return self.engines[-1]

    def add_agent(self, timeout_s: float = 60.0, kubeconfig: Path | None = None) -> AgentProgram:
        """One more node's agent; not started yet. With a kubeconfig, it belongs to a cluster."""
        name = f"node-{len(self.agents) + 1}"
        socket = self.root / f"{name}.sock"
        command = [IPLEDGER, "agent", "--nats", self.nats_url, "--realm", self.realm]
        command += ["--node", name, "--socket", str(socket), "--data", str(self.root / name)]
        command += ["--http", "0", "--timeout", str(timeout_s)]
        command += ["--kubeconfig", str(kubeconfig)] if kubeconfig else []
        self.agents.append(AgentProgram(Program(name, command, self.root), socket, self.shim))
        return self.agents[-1]

    def start(self, engines: int, agents: int) -> None:
        """Start so many of each, and wait until one engine leads."""
        for _ in range(engines):
            self.add_engine().launch()
        for _ in range(agents):
            self.add_agent().start()
        for engine in self.engines:
            engine.wait_ready()
        self.leader()

    def leader(self) -> EngineProgram:
        """The engine that leads, once one does. Those that do not run or answer are left out."""
        return until(self._leader, TAKEOVER_TIMEOUT_S)

    def _leader(self) -> EngineProgram | None:
        running = [engine for engine in self.engines if engine.runs]
        return next((e for e in running if e.health() == (200, "leader")), None)

    def epoch(self) -> int:
        """The epoch that the engines are in."""

        async def read(client: EngineClient) -> int:
            return (await client.status()).epoch

        return self.ask(read)

    def end(self) -> None:
        """End everything that still runs, with SIGKILL."""
        for program in [*self.engines, *(agent.program for agent in self.agents)]:
            if program.runs:
                program.kill()


@contextmanager
def replicas(
    root: Path, nats_url: str, realm: str, shim: Path, *, count: int = 1
) -> Generator[Replicas]:
    """An empty set of replicas, whose programs are ended behind the test."""
    made = Replicas(root, nats_url, realm, shim, count)
    try:
        yield made
    finally:
        made.end()
