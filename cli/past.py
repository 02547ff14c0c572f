"""How a command reaches the past: a log, its history kept up to date, and the moment meant."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Group, Parameter

from ipledger.cli.connection import Connection, engine_client, open_log
from ipledger.cli.errors import CliError, DifferenceError, UsageError
from ipledger.cli.output import note, progress
from ipledger.cli.times import parse_moment
from ipledger.events.wall_clock import wall_clock

if TYPE_CHECKING:
    from ipledger.engine.client import EngineClient
    from ipledger.events.log import ReadableLog
    from ipledger.replay.history_store import HistoryStore
    from ipledger.replay.past import Moment, Past
    from ipledger.replay.reads import StateReads

    Reads: TypeAlias = EngineClient | StateReads

_SQLITE = b"SQLite format 3\0"
_NUMBER = re.compile(r"\d+(\.\d+)?")
_LOOK_S = 0.02
_WORTH_A_BAR = 2000
"""Commits that take long enough for a progress bar."""

At: TypeAlias = Annotated[
    str,
    Parameter(
        help="The moment: a position (12.0), a commit (12), a time (2026-11-22T21:14:05Z) "
        "or '2h ago'."
    ),
]


@Parameter(name="*", group=Group("The past", sort_key=8))
@dataclass(frozen=True, slots=True)
class Source:
    """Options of every command that reads the past.

    Parameters
    ----------
    file
        Read this file and no server: a ledger, or what `ipledger export` wrote.
    history
        Where the index of the log is kept; by default in the user's cache directory.
    """

    file: Annotated[Path | None, Parameter(name="--from", show_default=False)] = None
    history: Annotated[Path | None, Parameter(env_var="IPLEDGER_HISTORY", show_default=False)] = (
        None
    )


SOURCE = Source()


@asynccontextmanager
async def open_past(connection: Connection, source: Source) -> AsyncGenerator[Past]:
    """The past of a log, up to its end as it is now; errors come out as `CliError`."""
    from ipledger.events.log import BrokenLogError, LogUnavailableError
    from ipledger.replay.history_store import HistoryError, RewrittenError
    from ipledger.replay.past import NoSuchMomentError, Past

    try:
        async with any_source(connection, source) as log:
            last = await log.last()
            store = await open_history(log, source, last)
            try:
                await store.agree(log, last)
                await _catch_up(store, log, last)
                yield Past(log, store, last)
            finally:
                await store.close()
    except (BrokenLogError, RewrittenError) as error:
        raise DifferenceError(f"{error} (see `ipledger verify`)") from error
    except NoSuchMomentError as error:
        raise UsageError(str(error)) from error
    except (HistoryError, LogUnavailableError, OSError) as error:
        raise CliError(str(error)) from error


@asynccontextmanager
async def any_source(connection: Connection, source: Source) -> AsyncGenerator[ReadableLog]:
    """The log that is meant: the realm's stream, or a file."""
    if source.file is None:
        async with open_log(connection) as stream:
            yield stream
    else:
        async with open_file(source.file) as log:
            yield log


@asynccontextmanager
async def open_file(path: Path) -> AsyncGenerator[ReadableLog]:
    """The log in a file, a ledger or a file of commits; errors come out as `CliError`."""
    from ipledger.events.ledger import Ledger, LedgerError
    from ipledger.replay.commit_file import CommitFile, CommitFileError

    try:
        with path.open("rb") as file:
            is_ledger = file.read(len(_SQLITE)) == _SQLITE
        log = await Ledger.reading(path) if is_ledger else CommitFile(path)
    except OSError as error:
        raise UsageError(f"--from: {path}: {error.strerror}") from None
    except (LedgerError, CommitFileError) as error:
        raise CliError(str(error)) from error
    try:
        yield log
    except LedgerError as error:
        raise CliError(str(error)) from error
    finally:
        if isinstance(log, Ledger):
            await log.close()
        else:
            log.close()


@asynccontextmanager
async def reads(connection: Connection, source: Source, at: str) -> AsyncGenerator[Reads]:
    """Whom to ask about resources: the engine about now, the past about then."""
    from ipledger.replay.reads import StateReads

    if not at and source.file is None:
        async with present(connection) as client:
            yield client
        return
    async with open_past(connection, source) as past:
        moment = await moment_of(past, at, "--at")
        stands_on(moment)
        state = await past.state(moment.position)
        yield StateReads(state, lambda pool: past.exhaustion(pool, moment))


async def moment_of(past: Past, text: str, option: str) -> Moment:
    """The moment that a text means; '' is the end of the log."""
    from ipledger.events.position import Position

    if not text:
        return await past.now()
    if not _NUMBER.fullmatch(text):
        return await past.at_time(parse_moment(text, option, wall_clock()))
    if "." in text:
        return await past.at_position(Position.parse(text))
    return await past.end_of((await past.at_position(Position(int(text), 0))).position.sequence)


@asynccontextmanager
async def present(connection: Connection) -> AsyncGenerator[EngineClient]:
    """The engine, asked about now; says in the end what position its answers are true at."""
    from ipledger.events.position import START

    async with engine_client(connection) as client:
        try:
            yield client
        finally:
            first, last = client.oldest, client.position
            if last != START:
                note(f"at {last}" if first == last else f"at {first} to {last}")


def stands_on(moment: Moment) -> None:
    """Say what position the answer is true at."""
    from ipledger.events.clock import format_time

    when = format_time(moment.time) if moment.time else "before the first event"
    note(f"at {moment.position}, {when}")


async def open_history(log: ReadableLog, source: Source, last: int) -> HistoryStore:
    """The history of a log, where the user has it; it may be behind."""
    from ipledger.events.commit import digest
    from ipledger.replay.history_store import HistoryStore

    if source.history is not None:
        return await HistoryStore.open(source.history)
    first = await log.get(1) if last else None
    if first is None:
        raise CliError("the log has no commits yet")
    return await HistoryStore.open(_cache() / f"{digest(first.payload)[:32]}.db")


def _cache() -> Path:
    """Where histories are kept: each by the hash of its log's first commit, whatever it is in."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ipledger" / "history"


async def _catch_up(store: HistoryStore, log: ReadableLog, last: int) -> None:
    from ipledger.replay.history_writer import HistoryWriter, lock

    missing = last - (await store.checkpoint()).head.sequence
    if missing <= 0:
        return
    with progress("reading the log", last if missing >= _WORTH_A_BAR else 0) as tell:
        while (await store.checkpoint()).head.sequence < last:
            async with lock(store.path, wait=False) as is_ours:
                if is_ours:
                    await HistoryWriter(store).catch_up(log, last, tell)
                else:  # somebody else is about to write what is missing
                    await asyncio.sleep(_LOOK_S)
