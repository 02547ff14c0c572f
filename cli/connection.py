"""How a command reaches the engine and the log, and what it says when it does not."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from ipledger.cli.errors import CliError, UsageError

if TYPE_CHECKING:
    from nats.aio.client import Client as NatsClient

    from ipledger.engine.client import EngineClient
    from ipledger.events.jetstream import JetStreamLog
    from ipledger.events.ledger import Ledger

_CONNECT_TIMEOUT_S = 1
_RETRY_DELAY_S = 0.1


@Parameter(name="*", group=Group("Connection", sort_key=9))
@dataclass(frozen=True, slots=True)
class Connection:
    """Options of every command that connects.

    Parameters
    ----------
    nats
        URL of the NATS server; several separated by commas.
    creds
        NATS credentials file.
    realm
        The realm: a routing domain in which an address is unique.
    timeout
        Seconds to wait for the engine's answer.
    """

    nats: Annotated[str, Parameter(env_var="IPLEDGER_NATS")] = "nats://127.0.0.1:4222"
    creds: Annotated[Path | None, Parameter(show_default=False)] = None
    realm: Annotated[str, Parameter(env_var="IPLEDGER_REALM")] = "default"
    timeout: float = 5.0

    @property
    def shown(self) -> str:
        """The URLs without passwords, for messages."""
        servers = (url.partition("://") for url in self.nats.split(","))
        return ",".join(f"{s}{mark}{rest.rpartition('@')[2]}" for s, mark, rest in servers)


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
async def open_log(connection: Connection) -> AsyncGenerator[JetStreamLog]:
    """The realm's log; its errors come out as `CliError`."""
    from ipledger.events.jetstream import JetStreamLog

    async with any_log(connection) as log:
        yield await JetStreamLog.open(log.nc, connection.realm)


@asynccontextmanager
async def any_log(connection: Connection) -> AsyncGenerator[JetStreamLog]:
    """The realm's log, even if it is not there or is being restored."""
    from ipledger.events.jetstream import JetStreamLog
    from ipledger.events.log import LogUnavailableError

    async with nats_client(connection) as nc:
        try:
            yield JetStreamLog.of(nc, connection.realm)
        except LogUnavailableError as error:
            raise CliError(f"{error} (NATS at {connection.shown})") from error


@asynccontextmanager
async def served(connection: Connection, data: Path | None) -> AsyncGenerator[Connection]:
    """The connection, or one to the nats-server of a data directory that runs meanwhile."""
    if data is None:
        yield connection
        return
    from ipledger.events.embedded import EmbeddedServer, EmbeddedServerError

    _must_be_directory(data)
    server = EmbeddedServer(data)
    try:
        await server.start()
    except EmbeddedServerError as error:
        raise CliError(str(error)) from error
    try:
        yield replace(connection, nats=server.url)
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
    """A connected client. Raises `CliError`."""
    from ipledger.events.names import check_realm

    try:
        check_realm(connection.realm)
    except ValueError as error:
        raise UsageError(f"--realm: {error}") from None
    if connection.creds is not None and not connection.creds.is_file():
        raise UsageError(f"--creds: '{connection.creds}' is not a file")
    nc = await _connect(connection)
    try:
        yield nc
    finally:
        await nc.close()


async def _connect(connection: Connection) -> NatsClient:
    """Connect within about two seconds or raise `CliError`; once connected, stay so."""
    import nats.errors
    from nats.aio.client import Client as NatsClient

    seen: list[Exception] = []

    async def on_error(error: Exception) -> None:
        seen.append(error)

    nc = NatsClient()
    try:
        await nc.connect(
            connection.nats.split(","),
            user_credentials=str(connection.creds) if connection.creds else None,
            connect_timeout=_CONNECT_TIMEOUT_S,
            max_reconnect_attempts=1,
            reconnect_time_wait=_RETRY_DELAY_S,  # type: ignore[arg-type]  # seconds, any number
            error_cb=on_error,
        )
    except (nats.errors.Error, OSError, ValueError, TimeoutError) as error:
        raise _unreachable(connection, seen[-1] if seen else error) from error
    nc.options["max_reconnect_attempts"] = -1
    return nc


def _unreachable(connection: Connection, error: Exception) -> CliError:
    why = str(error).removeprefix("nats: ") or type(error).__name__
    if isinstance(error, TimeoutError):
        why = "no answer"
    elif isinstance(error, OSError) and error.errno:
        is_system_error = error.errno > 0  # a failed look-up of a name has numbers of its own
        why = os.strerror(error.errno) if is_system_error else str(error.strerror)
    return CliError(
        f"cannot connect to NATS at {connection.shown}: {why} (set --nats or IPLEDGER_NATS)"
    )
