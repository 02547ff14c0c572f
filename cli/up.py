"""`ipledger up`: everything on one machine, in one process and its nats-server."""

from __future__ import annotations

import socket as sockets
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from ipledger.cli import gc_settings, log_flags, probe_flags
from ipledger.cli.cluster import parse_cluster
from ipledger.cli.errors import UsageError
from ipledger.cli.gc_settings import CollectorFlags
from ipledger.cli.listen import parse_http
from ipledger.cli.log_flags import LogFlags
from ipledger.cli.probe_flags import ProbeFlags
from ipledger.events import names


def up(
    *,
    data: Path = Path("/var/lib/ipledger"),
    socket: Path = Path("/run/ipledger/agent.sock"),
    nats_port: int = 4222,
    http: str = "9474",
    node: str = "",
    realm: str = names.REALM_DEFAULT,
    timeout: float = 60.0,
    checkpoint_every: Annotated[int, Parameter(validator=Number(gte=0))] = 1000,
    forecast_window: Annotated[float, Parameter(validator=Number(gt=0))] = 3600.0,
    kubeconfig: str = "",
    flags: CollectorFlags = gc_settings.RUNNING,
    probe: ProbeFlags = probe_flags.DEFAULT,
    logs: LogFlags = log_flags.DEFAULT,
) -> int:
    """Run everything on this machine: nats-server, engine and agent.

    Prints one line `ready socket=… nats=… http=…` on stderr when pods can get addresses.
    SIGTERM and Ctrl-C stop it cleanly.

    Parameters
    ----------
    data
        The directory of the log; made if it is not there.
    socket
        The unix socket on which the CNI plugin reaches the agent.
    nats_port
        The port of nats-server on loopback; 0 picks a free one.
    http
        Where /healthz and /metrics are: a port on loopback, or HOST:PORT; port 0 picks a free one.
    node
        This node's name; the host's name if not given.
    realm
        The routing domain in which an address is unique.
    timeout
        Seconds for which an ADD is tried when the engine cannot be reached.
    checkpoint_every
        After how many commits a checkpoint is signed; 0 is never by itself.
    forecast_window
        How far back, in seconds, a forecast of a pool's exhaustion looks.
    kubeconfig
        How to reach the API server: a file, or `in-cluster` for the service account of this pod.
        With it, the controller and the collector run too.
    """
    try:
        names.check_realm(realm)
        name = names.check_node(node or sockets.gethostname())
    except ValueError as error:
        raise UsageError(str(error)) from error
    cluster = parse_cluster(kubeconfig)
    listen = parse_http(http)
    gc = flags.settings()
    from ipledger.cli.role_up import UpOptions, run_up

    run_up(
        UpOptions(
            data,
            socket,
            nats_port,
            listen,
            name,
            realm,
            timeout,
            checkpoint_every,
            forecast_window,
            cluster,
            gc,
            logs.settings(),
            probe.settings(),
        )
    )
    return 0
