"""Real nats-servers on loopback: one by itself, or a JetStream cluster of three."""

from __future__ import annotations

import json
import socket
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ipledger.events.embedded import find_server
from support.program import Program

_SERVER = """\
server_name: {name}
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: {store_dir}, sync_interval: always }}
"""
_CLUSTER = """\
cluster {{
  name: test
  listen: "127.0.0.1:{route}"
  routes: [{routes}]
}}
"""


@dataclass
class Cluster:
    """The servers, as programs named `nats-N`, and their URLs."""

    servers: list[Program]
    urls: list[str]

    @property
    def url(self) -> str:
        """All the URLs, as `--nats` takes them."""
        return ",".join(self.urls)

    def number_of(self, name: str) -> int:
        """Which server has a name."""
        return [server.name for server in self.servers].index(name)

    def kill(self, *numbers: int) -> None:
        """End servers with SIGKILL."""
        for number in numbers:
            self.servers[number].kill()

    def start(self, *numbers: int) -> None:
        """Start servers, again on their own data."""
        for number in numbers:
            self.servers[number].launch()
        for number in numbers:
            self.servers[number].line("Server is ready")


@contextmanager
def cluster(root: Path, size: int = 3) -> Generator[Cluster]:
    """So many servers, on ports of their own; not started yet."""
    with _free_ports(2 * size) as found:
        clients, routes = found[:size], found[size:]
    servers: list[Program] = []
    for number in range(size):
        name = f"nats-{number}"
        store_dir = json.dumps(str(root / name))
        text = _SERVER.format(name=name, port=clients[number], store_dir=store_dir)
        if size > 1:
            urls = ",".join(f'"nats-route://127.0.0.1:{route}"' for route in routes)
            text += _CLUSTER.format(route=routes[number], routes=urls)
        config = root / f"{name}.conf"
        config.write_text(text)
        servers.append(Program(name, [find_server(), "--config", str(config)], root))
    try:
        yield Cluster(servers, [f"nats://127.0.0.1:{port}" for port in clients])
    finally:
        for server in servers:
            if server.runs:
                server.kill()


@contextmanager
def _free_ports(count: int) -> Generator[list[int]]:
    """Ports that are free; they are held until the block ends, so that no two are the same."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", 0))
        yield [one.getsockname()[1] for one in sockets]
