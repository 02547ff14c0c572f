"""`ipledger webhook`: checks changes of pools, subnets and reservations for an API server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from ipledger.cli import log_flags
from ipledger.cli.connection import DEFAULT_SERVER, Server
from ipledger.cli.errors import UsageError
from ipledger.cli.log_flags import LogFlags


def webhook(
    *,
    cert: Path,
    key: Path,
    host: str = "0.0.0.0",
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 9443,
    timeout: Annotated[float, Parameter(validator=Number(gt=0))] = 3.0,
    server: Server = DEFAULT_SERVER,
    logs: LogFlags = log_flags.DEFAULT,
) -> None:
    """Check changes of pools, subnets and reservations before an API server stores them.

    Prints one line `ready webhook=… nats=…` on stderr when it listens, which it does whether or
    not NATS is there. SIGTERM and Ctrl-C stop it cleanly.

    Parameters
    ----------
    cert
        The server's certificate chain, a PEM file; read again when it changes.
    key
        The certificate's private key, a PEM file; read again when it changes.
    host
        The address to listen on.
    port
        The port of /validate and /healthz; 0 picks a free one.
    timeout
        Seconds for which the engine is asked. Without an answer, a deletion of a pool or subnet is
        denied, and any other change let pass with a warning.
    """
    server.check()
    for name, path in (("--cert", cert), ("--key", key)):
        if not path.is_file():
            raise UsageError(f"{name}: '{path}' is not a file")
    from ipledger.cli.role_webhook import WebhookOptions, run_webhook

    run_webhook(WebhookOptions(server, host, port, cert, key, timeout, logs.settings()))
