"""What every role that runs for long shares: signals, logging, and a connection that is kept."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import signal
import ssl
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any

import nats
import nats.errors
import uvloop

from ipledger.cli.connection import Server
from ipledger.cli.credentials import nats_options, public_key, seed_in, whose
from ipledger.cli.errors import CliError, DifferenceError, UsageError
from ipledger.events import keys
from ipledger.events.client import Client
from ipledger.events.keys import KeyFormatError
from ipledger.events.log import BrokenLogError
from ipledger.events.logs import LogSettings, to_stderr
from ipledger.events.tasks import end
from ipledger.events.tracing_sdk import tracing_by

_log = logging.getLogger(__name__)

_RECONNECT_S = 0.1
_PING_S = 2.0  # a server that has answered no two of these is given up for another
_SAME_ERROR_S = 10.0
_KEY_LOOK_S = 5.0
_CLOSE_S = 5.0


@dataclass(frozen=True, slots=True)
class Process:
    """How a process tells of itself: as which service and which one of its kind, and its log."""

    service: str
    instance: str
    logs: LogSettings


@contextlib.contextmanager
def telling(process: Process) -> Generator[None]:
    """Logs are written and spans exported in the body. Raises `TracingError`."""
    with (
        to_stderr(process.logs),
        tracing_by(os.environ, process.service, process.instance),
    ):
        yield


def serve(
    role: Callable[[asyncio.Event], Coroutine[Any, Any, None]], process: Process, files: str = ""
) -> None:
    """Run `role(stop)`; `stop` is set by SIGTERM and SIGINT. Raises `CliError`.

    `files` is what `ipledger verify --ledger` takes to look at a log that is not whole.
    """
    if sys.flags.optimize:
        raise CliError("run Python without -O: assertions guard the invariants of the log")
    try:
        with telling(process):
            uvloop.run(_until_signal(role))
    except BrokenLogError as error:
        ledger, source = (f" --ledger {files}", files) if files else ("", "…/ledger.db")
        advice = f"see `ipledger verify{ledger}`, then `ipledger restore --from {source}`"
        raise DifferenceError(f"{error}; {advice}") from error
    except Exception as error:
        if isinstance(error, _expected()):
            raise CliError(str(error)) from error
        raise


def _expected() -> tuple[type[Exception], ...]:
    """What a role may end with, as one line; each role loads only what it raises itself."""
    from ipledger.cni.agent import AgentError
    from ipledger.cni.outbox import StoreError
    from ipledger.cni.probe import ProbeError
    from ipledger.events.access import AccessError
    from ipledger.events.checkpoint import CheckpointError
    from ipledger.events.embedded import EmbeddedServerError
    from ipledger.events.jetstream import LogSettingsError
    from ipledger.events.ledger import LedgerError
    from ipledger.events.log import LogUnavailableError
    from ipledger.events.tracing_sdk import TracingError
    from ipledger.kube.lease import LeaseLostError
    from ipledger.projections.cluster.live.connect import KubeconfigError

    return (
        AccessError,
        AgentError,
        CheckpointError,
        EmbeddedServerError,
        KubeconfigError,
        LeaseLostError,
        LedgerError,
        LogSettingsError,
        LogUnavailableError,
        ProbeError,
        StoreError,
        OSError,
        TimeoutError,
        TracingError,
        nats.errors.Error,
    )


async def _until_signal(role: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await role(stop)


@contextlib.asynccontextmanager
async def connected(server: Server, role: str, stop: asyncio.Event) -> AsyncGenerator[Client]:
    """A client of NATS that goes on connecting for as long as it takes, from now on.

    It takes another key up that is put into the file of its own (ADR 111).
    It may not be connected yet. If it never can be (a credentials file that is none, a server whose
    certificate is not to be trusted), `stop` is set, and the error raised at the end. So it is
    where a server ends a connection for good.
    """
    nc = Client()
    options = nats_options(server)
    log_error, untrusted = _error_log(role, server), list[ssl.SSLError]()

    async def on_error(error: Exception) -> None:
        await log_error(error)
        if isinstance(error, ssl.SSLError) and not connecting.done():
            untrusted.append(error)  # nats-py does not get over it
            stop.set()

    async def on_closed() -> None:
        stop.set()

    connecting = asyncio.create_task(
        nc.connect(
            server.urls,
            name=f"ipledger {role}",
            error_cb=on_error,
            closed_cb=on_closed,
            max_reconnect_attempts=-1,
            reconnect_time_wait=_RECONNECT_S,  # type: ignore[arg-type]  # seconds, any number
            ping_interval=_PING_S,  # type: ignore[arg-type]
            **options,
        )
    )
    connecting.add_done_callback(lambda done: _stop_if_failed(done, stop))
    following = asyncio.create_task(_follow_key(nc, server, role))
    try:
        yield nc
        if untrusted:
            raise CliError(f"cannot connect to NATS at {server.shown}: {untrusted[0]}")
        if connecting.done():
            connecting.result()
            if nc.is_closed:
                why = f"NATS at {server.shown} ended the connection ({nc.last_error})"
                raise CliError(f"{why}, made {whose(server)}")
    finally:
        await end(following, connecting)
        if connecting.cancelled() or connecting.exception() is None:  # else nothing was opened
            with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await nc.close()


async def _follow_key(nc: Client, server: Server, role: str) -> None:
    """Have a connection made anew with another key that its file has, once servers take it."""
    if server.nkey is None:
        return
    own = refused = public_key(server.nkey)
    while True:
        await asyncio.sleep(_KEY_LOOK_S)
        with contextlib.suppress(UsageError, KeyFormatError):  # it is being written
            seed = seed_in(server.nkey)
            key = keys.public_key(seed)
            if key == own:
                continue
            if await _is_taken(server):
                _log.info("%s: connecting anew with key %s of %s", role, key, server.nkey)
                await nc.become(seed)
                own = key
            elif key != refused:
                refused = key
                _log.warning("%s: NATS does not take key %s of %s yet", role, key, server.nkey)


async def _is_taken(server: Server) -> bool:
    """Whether the servers let in who has the key that is in the file now."""
    try:
        nc = await nats.connect(server.urls, allow_reconnect=False, **nats_options(server))
    except (nats.errors.Error, OSError, TimeoutError):
        return False
    await nc.close()
    return True


def _stop_if_failed(done: asyncio.Task[None], stop: asyncio.Event) -> None:
    if not done.cancelled() and done.exception() is not None:
        stop.set()


def _error_log(role: str, server: Server) -> Callable[[Exception], Awaitable[None]]:
    """Logs what nats-py reports, and the same again not before a while has passed."""
    last = ("", -math.inf)

    async def log_error(error: Exception) -> None:
        nonlocal last
        text, now = repr(error), asyncio.get_running_loop().time()
        if text != last[0] or now - last[1] >= _SAME_ERROR_S:
            last = text, now
            who = f" ({whose(server)})" if _is_refusal(text) else ""
            _log.warning("%s: NATS: %s%s", role, text, who)

    return log_error


def _is_refusal(text: str) -> bool:
    return "authorization" in text.lower() or "permissions violation" in text


async def either(work: Coroutine[Any, Any, object], stop: asyncio.Event) -> bool:
    """Whether the work was done before `stop` was set; it is cancelled then."""
    tasks = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            tasks[0].result()
        return tasks[0].done()
    finally:
        await end(*tasks)
