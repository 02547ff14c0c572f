"""How a command reaches the engine and the log, and what it says when it does not."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from cyclopts import Group, Parameter

from ipledger.cli import credentials
from ipledger.cli.errors import CliError, UsageError

if TYPE_CHECKING:
    from nats.aio.client import Client as NatsClient

    from ipledger.engine.client import EngineClient
    from ipledger.events.direct_log import DirectLog
    from ipledger.events.ledger import Ledger

_CONNECT_TIMEOUT_S = 1
_RETRY_DELAY_S = 0.1


_File: TypeAlias = Annotated[Path | None, Parameter(show_default=False)]
_GROUP = Group("Connection", sort_key=9)


@Parameter(name="*", group=_GROUP)
@dataclass(frozen=True, slots=True)
class Server:
    """Where NATS is, and which realm is meant.

    Parameters
    ----------
    nats
        URL of the NATS server; several separated by commas.
    creds
        NATS credentials file (a JWT and the seed of its key).
    nkey
        File with the seed of a NATS key, as `ipledger nats-config` makes them.
    tls_ca
        PEM file of the authorities that may have signed the server's certificate.
    tls_cert
        PEM file of one's own certificate, where the server asks for one.
    tls_key
        PEM file of its private key.
    realm
        The realm: a routing domain in which an address is unique.
    """

    nats: Annotated[str, Parameter(env_var="IPLEDGER_NATS")] = "nats://127.0.0.1:4222"
    creds: Annotated[_File, Parameter(env_var="IPLEDGER_CREDS")] = None
    nkey: Annotated[_File, Parameter(env_var="IPLEDGER_NKEY")] = None
    tls_ca: Annotated[_File, Parameter(env_var="IPLEDGER_TLS_CA")] = None
    tls_cert: Annotated[Path | None, Parameter(env_var="IPLEDGER_TLS_CERT", show_default=False)] = (
        None
    )
    tls_key: Annotated[Path | None, Parameter(env_var="IPLEDGER_TLS_KEY", show_default=False)] = (
        None
    )
    realm: Annotated[str, Parameter(env_var="IPLEDGER_REALM")] = "default"

    @property
    def urls(self) -> list[str]:
        """The URLs one by one."""
        return self.nats.split(",")

    @property
    def shown(self) -> str:
        """The URLs without passwords, for messages."""
        servers = (url.partition("://") for url in self.urls)
        return ",".join(f"{s}{mark}{rest.rpartition('@')[2]}" for s, mark, rest in servers)

    def check(self) -> None:
        """Raise `UsageError` where an option cannot be right."""
        from ipledger.events.names import check_realm

        try:
            check_realm(self.realm)
        except ValueError as error:
            raise UsageError(f"--realm: {error}") from None
        if "$(" in self.nats:
            # As kubelet leaves it for a Service that is not there. The next start may know it.
            raise UsageError(f"--nats: '{self.shown}' names a variable that is not set")
        for name in ("creds", "nkey", "tls_ca", "tls_cert", "tls_key"):
            path: Path | None = getattr(self, name)
            if path is not None and not path.is_file():
                raise UsageError(f"--{name.replace('_', '-')}: '{path}' is not a file")
        if self.creds is not None and self.nkey is not None:
            raise UsageError("--nkey: not together with --creds")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise UsageError("--tls-cert and --tls-key: give both or neither")
        credentials.nats_options(self)


@Parameter(name="*", group=_GROUP)
@dataclass(frozen=True, slots=True)
class Connection(Server):
    """Options of every command that connects and asks.

    Parameters
    ----------
    timeout
        Seconds to wait for the engine's answer.
    """

    timeout: float = 5.0


DEFAULT_SERVER = Server()
DEFAULT = Connection()


@asynccontextmanager
async def engine_client(connection: Connection) -> AsyncGenerator[EngineClient]:
    """A client of the realm's engine; its errors come out as `CliError`."""
    from ipledger.engine.client import EngineClient, EngineUnavailableError, RefusedError

    async with nats_client(connection) as nc:
        try:
            yield EngineClient(nc, connection.realm, connection.timeout)
        except EngineUnavailableError as error:
            raise CliError(f"{error} (NATS at {connection.shown})") from error
        except RefusedError as error:
            raise CliError(str(error)) from error


@asynccontextmanager
async def open_log(connection: Connection) -> AsyncGenerator[DirectLog]:
    """The realm's log, to be read; its errors come out as `CliError`."""
    from ipledger.events.direct_log import DirectLog
    from ipledger.events.log import LogUnavailableError

    async with nats_client(connection) as nc:
        try:
            yield DirectLog(nc, connection.realm)
        except LogUnavailableError as error:
            raise CliError(f"{error} (NATS at {connection.shown})") from error


@asynccontextmanager
async def served(
    connection: Connection, data: Path | None, role: Literal["restore", "auditor"]
) -> AsyncGenerator[Connection]:
    """The connection, or one to the nats-server of a data directory that runs meanwhile."""
    if data is None:
        yield connection
        return
    from ipledger.cli.own_access import OwnAccess
    from ipledger.events.access import AccessError
    from ipledger.events.embedded import EmbeddedServer, EmbeddedServerError
    from ipledger.events.nats_roles import Role

    _must_be_directory(data)
    own = OwnAccess(data, connection.realm)
    try:
        server = EmbeddedServer(data, accounts=own.accounts(None))
        await server.start()
    except (EmbeddedServerError, AccessError) as error:
        raise CliError(str(error)) from error
    try:
        yield replace(connection, nats=server.url, nkey=own.seed_file(Role(role)))
    finally:
        await server.stop()


def _must_be_directory(data: Path) -> None:
    if not data.is_dir():
        raise UsageError(f"--data: '{data}' is not a directory")


@asynccontextmanager
async def open_ledger(path: Path, connection: Connection) -> AsyncGenerator[Ledger]:
    """The realm's ledger in a file, to be read; its errors come out as `CliError`."""
    from ipledger.events.ledger import Ledger, LedgerError

    try:
        ledger = await Ledger.reading(path, connection.realm)
        try:
            yield ledger
        finally:
            await ledger.close()
    except LedgerError as error:
        raise CliError(str(error)) from error


@asynccontextmanager
async def nats_client(connection: Connection) -> AsyncGenerator[NatsClient]:
    """A connected client. Raises `CliError`, which tells of what the server did not allow."""
    connection.check()
    seen: list[Exception] = []
    nc = await _connect(connection, seen)
    try:
        yield nc
    except CliError as error:
        denied = [text for text in map(str, seen) if "permissions violation" in text]
        if not denied:
            raise
        refusal = f"NATS at {connection.shown} does not allow this ({denied[-1]})"
        raise CliError(f"{refusal}, connected {credentials.whose(connection)}") from error
    finally:
        await nc.close()


async def _connect(connection: Connection, seen: list[Exception]) -> NatsClient:
    """Connect within about two seconds or raise `CliError`; once connected, stay so."""
    import nats.errors
    from nats.aio.client import Client as NatsClient

    async def on_error(error: Exception) -> None:
        seen.append(error)

    nc = NatsClient()
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S * (2 * len(connection.urls) + 1)):
            await nc.connect(  # which hangs on a certificate that is not trusted
                connection.urls,
                connect_timeout=_CONNECT_TIMEOUT_S,
                max_reconnect_attempts=1,
                reconnect_time_wait=_RETRY_DELAY_S,  # type: ignore[arg-type]  # any number
                error_cb=on_error,
                **credentials.nats_options(connection),
            )
    except (nats.errors.Error, OSError, ValueError, TimeoutError) as error:
        raise _unreachable(connection, _telling([*seen, error])) from error
    nc.options["max_reconnect_attempts"] = -1
    return nc


def _telling(errors: list[Exception]) -> Exception:
    """The error that tells most: behind a refusal the connection breaks."""
    refusals = [error for error in errors if "authorization" in str(error).lower()]
    return refusals[0] if refusals else errors[0]


def _unreachable(connection: Connection, error: Exception) -> CliError:
    why = str(error).removeprefix("nats: ") or type(error).__name__
    if "authorization" in why.lower():
        refused = f"NATS at {connection.shown} refused the connection ({why.strip(chr(39))})"
        return CliError(f"{refused}, tried {credentials.whose(connection)}")
    if isinstance(error, TimeoutError):
        why = "no answer"
    elif isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError):
        is_system_error = error.errno > 0  # a failed look-up of a name has numbers of its own
        why = os.strerror(error.errno) if is_system_error else str(error.strerror)
    return CliError(
        f"cannot connect to NATS at {connection.shown}: {why} (set --nats or IPLEDGER_NATS)"
    )
