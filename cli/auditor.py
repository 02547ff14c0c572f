"""`ipledger auditor`: a history that is always up to date."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from ipledger.cli import log_flags
from ipledger.cli.connection import DEFAULT, Connection, open_log
from ipledger.cli.errors import CliError, DifferenceError
from ipledger.cli.listen import parse_http
from ipledger.cli.log_flags import LogFlags
from ipledger.cli.output import note
from ipledger.cli.past import SOURCE, Source, open_history
from ipledger.events.wall_clock import wall_clock

if TYPE_CHECKING:
    from ipledger.engine.listen import Listen
    from ipledger.replay.follower import Follower


async def auditor(
    *,
    http: str = "9475",
    source: Source = SOURCE,
    connection: Connection = DEFAULT,
    logs: LogFlags = log_flags.DEFAULT,
) -> None:
    """Follow the log and keep its history, so that questions about the past are answered at once.

    Prints one line `ready history=… http=…` on stderr when the history has all of the log. SIGTERM
    and Ctrl-C stop it cleanly.

    Parameters
    ----------
    http
        Where /metrics are: a port on loopback, or HOST:PORT; port 0 picks a free one.
    """
    from ipledger.cli.roles import Process, telling
    from ipledger.events.log import BrokenLogError, LogUnavailableError
    from ipledger.events.tracing_sdk import TracingError
    from ipledger.replay.history_store import HistoryError, RewrittenError

    listen = parse_http(http)
    if source.file is not None:
        raise CliError("--from: a file does not grow; the auditor follows a running realm")
    try:
        with telling(Process("ipledger-auditor", "", logs.settings())):
            await _audit(listen, source, connection)
    except (BrokenLogError, RewrittenError) as error:
        raise DifferenceError(f"{error} (see `ipledger verify`)") from error
    except (HistoryError, LogUnavailableError, TracingError, OSError) as error:
        raise CliError(str(error)) from error


async def _audit(listen: Listen, source: Source, connection: Connection) -> None:
    from ipledger.replay.follower import Follower

    async with open_log(connection) as stream:
        store = await open_history(stream, source, await stream.last())
        try:
            follower = Follower(stream, store, wall_clock)
            async with _served(follower, connection.realm, listen) as url:
                await _until_stopped(follower, url)
        finally:
            await store.close()


async def _until_stopped(follower: Follower, url: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    running = asyncio.create_task(follower.run())
    ready = asyncio.create_task(follower.caught_up.wait())
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((running, ready, stopped), return_when=asyncio.FIRST_COMPLETED)
        if ready.done():
            note(f"ready history={follower.store.path} http={url}")
        await asyncio.wait((running, stopped), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (running, ready, stopped):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


@contextlib.asynccontextmanager
async def _served(follower: Follower, realm: str, listen: Listen) -> AsyncGenerator[str]:
    """Serve the metrics. Yields where."""
    from aiohttp import web

    from ipledger.engine.metrics.exposition import Exposition
    from ipledger.engine.metrics.metric import Role

    exposition = Exposition(realm)
    exposition.add_role(Role.AUDITOR)
    exposition.add(follower.metrics.registry)

    async def metrics(request: web.BaseRequest) -> web.Response:
        return await exposition.response()

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, *listen)
    try:
        await site.start()
        yield listen.url(runner.addresses[0][1])
    finally:
        await runner.cleanup()
