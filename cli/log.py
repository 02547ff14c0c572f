"""`ipledger log`: the events as they are stored."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ipledger.cli.connection import DEFAULT, Connection, open_ledger, open_log
from ipledger.cli.errors import EXIT_DIFFERENCE, DifferenceError, UsageError
from ipledger.cli.output import Format, Output, emit, json_text, note, printable, yaml_text
from ipledger.cli.times import parse_moment

if TYPE_CHECKING:
    from ipledger.events.log import Entry
    from ipledger.replay.log import LoggedEvent


async def log(
    *,
    follow: Annotated[bool, Parameter(name=("--follow", "-f"))] = False,
    since: str = "",
    ledger: Path | None = None,
    output: Output = "table",
    connection: Connection = DEFAULT,
) -> int:
    """Print events.

    Parameters
    ----------
    follow
        Go on with each new event as it comes.
    since
        Only events committed at this time or later: 2026-11-22T21:14:05Z or '2h ago'.
    ledger
        A ledger file to read instead of the stream.
    """
    from ipledger.replay.log import UnreadableCommit, events

    if follow and output == "json":
        raise UsageError("--follow has no end, and -o json is one array; use -o jsonl")
    if follow and ledger is not None:
        raise UsageError("--follow waits for new events, and a ledger file is read as it is")
    start = parse_moment(since, "--since", time.time_ns() // 1000) if since else 0
    exit_code = 0
    collected: list[bytes] = []
    async with _commits(connection, ledger, follow=follow) as commits:
        async for found in events(commits, since=start):
            if isinstance(found, UnreadableCommit):
                note(f"error: commit {found.sequence} cannot be read: {found.reason}")
                exit_code = EXIT_DIFFERENCE
            elif output == "json":
                collected.append(found.record())
            else:
                _print(found, output)
            if follow:
                sys.stdout.flush()
    if output == "json":
        emit(_array(collected))
    return exit_code


@asynccontextmanager
async def _commits(
    connection: Connection, ledger: Path | None, *, follow: bool
) -> AsyncGenerator[AsyncIterator[Entry]]:
    from ipledger.events.log import BrokenLogError

    try:
        if ledger is not None:
            async with open_ledger(ledger, connection) as copy:
                yield copy.read(0)
        else:
            async with open_log(connection) as stream:
                yield stream.follow(0) if follow else stream.read(0)
    except BrokenLogError as error:
        raise DifferenceError(str(error)) from error


def _print(logged: LoggedEvent, output: Format) -> None:
    if output == "jsonl":
        emit(logged.record().decode())
        return
    if output == "yaml":
        import msgspec

        sys.stdout.write(yaml_text([msgspec.json.decode(logged.record())]))
        return
    from ipledger.cli.summary import summary

    name = type(logged.event).__name__
    shown = logged.raw.decode() if output == "wide" else summary(logged.event)
    emit(f"{logged.position!s:<9} {logged.time}   {name:<18}   {printable(shown)}".rstrip())


def _array(records: list[bytes]) -> str:
    import msgspec

    return json_text([msgspec.Raw(record) for record in records])
