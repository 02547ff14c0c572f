"""`ipledger engine`: one engine of a realm, on a NATS server that runs elsewhere."""

from __future__ import annotations

import socket as sockets
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from ipledger.cli import log_flags
from ipledger.cli.connection import DEFAULT_SERVER, Server
from ipledger.cli.errors import UsageError
from ipledger.cli.listen import parse_http
from ipledger.cli.log_flags import LogFlags
from ipledger.events import names


def engine(
    *,
    name: str = "",
    data: Path = Path("/var/lib/ipledger-engine"),
    replicas: Literal[1, 3, 5] = 1,
    http: str = "9475",
    checkpoint_every: Annotated[int, Parameter(validator=Number(gte=0))] = 1000,
    forecast_window: Annotated[float, Parameter(validator=Number(gt=0))] = 3600.0,
    server: Server = DEFAULT_SERVER,
    logs: LogFlags = log_flags.DEFAULT,
) -> None:
    """Run one engine; of several, one leads and the others stand by.

    Prints one line `ready engine=… nats=… http=…` on stderr when it can be asked. SIGTERM and
    Ctrl-C stop it cleanly: a leader answers what waits and gives up leadership at once.

    Parameters
    ----------
    name
        What tells this engine from the others of its realm; the host's name if not given.
    data
        The directory of this engine's own copy of the log; made if it is not there.
    replicas
        Servers that keep the log, if it is made now; a log that exists stays as it is.
    http
        Where /healthz and /metrics are: a port on loopback, or HOST:PORT; port 0 picks a free one.
    checkpoint_every
        After how many commits a checkpoint is signed; 0 is never by itself.
    forecast_window
        How far back, in seconds, a forecast of a pool's exhaustion looks.
    """
    server.check()
    try:
        own = names.check_node(name or sockets.gethostname())
    except ValueError as error:
        raise UsageError(f"--name: {str(error).removeprefix('node ')}") from error
    from ipledger.cli.role_engine import EngineOptions, OwnOptions, run_engine

    keeps = OwnOptions(data, checkpoint_every, forecast_window)
    run_engine(EngineOptions(server, own, replicas, parse_http(http), keeps, logs.settings()))
