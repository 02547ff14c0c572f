"""`ipledger agent`: the agent of one node, on a NATS server that runs elsewhere."""

from __future__ import annotations

import socket as sockets
from pathlib import Path

from ipledger.cli import log_flags, probe_flags
from ipledger.cli.cluster import parse_cluster
from ipledger.cli.connection import DEFAULT_SERVER, Server
from ipledger.cli.errors import UsageError
from ipledger.cli.listen import parse_http
from ipledger.cli.log_flags import LogFlags
from ipledger.cli.probe_flags import ProbeFlags
from ipledger.events import names


def agent(
    *,
    node: str = "",
    socket: Path = Path("/run/ipledger/agent.sock"),
    data: Path = Path("/var/lib/ipledger"),
    http: str = "9474",
    timeout: float = 60.0,
    kubeconfig: str = "",
    server: Server = DEFAULT_SERVER,
    probe: ProbeFlags = probe_flags.DEFAULT,
    logs: LogFlags = log_flags.DEFAULT,
) -> None:
    """Run the agent of this node, which the CNI plugin asks.

    Prints one line `ready socket=… nats=… http=…` on stderr when it listens, which it does
    whether or not NATS is there: an ADD is then tried until its time is up, and a DEL is stored.
    SIGTERM and Ctrl-C stop it cleanly.

    Parameters
    ----------
    node
        This node's name; the host's name if not given.
    socket
        The unix socket on which the CNI plugin reaches the agent.
    data
        The directory of releases that could not be sent yet; made if it is not there.
    http
        Where /healthz and /metrics are: a port on loopback, or HOST:PORT; port 0 picks a free one.
    timeout
        Seconds for which an ADD is tried when the engine cannot be reached.
    kubeconfig
        How to reach the API server: a file, or `in-cluster` for the service account of this pod.
        Without it, a pod is what its network configuration says.
    """
    server.check()
    try:
        own = names.check_node(node or sockets.gethostname())
    except ValueError as error:
        raise UsageError(f"--node: {str(error).removeprefix('node ')}") from error
    cluster = parse_cluster(kubeconfig)
    from ipledger.cli.role_agent import AgentOptions, run_agent

    run_agent(
        AgentOptions(
            server,
            own,
            socket,
            data,
            parse_http(http),
            timeout,
            cluster,
            logs.settings(),
            probe.settings(),
        )
    )
