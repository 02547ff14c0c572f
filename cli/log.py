"""`ipledger log`: the events as they are stored."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ipledger.cli.connection import DEFAULT, Connection, open_log
from ipledger.cli.errors import EXIT_DIFFERENCE, DifferenceError, UsageError
from ipledger.cli.events import EventPrinter
from ipledger.cli.output import Output, note
from ipledger.cli.past import SOURCE, Source, any_source, moment_of, open_past
from ipledger.cli.times import parse_moment
from ipledger.events.wall_clock import wall_clock

if TYPE_CHECKING:
    from ipledger.events.log import Entry
    from ipledger.replay.past import Past


async def log(
    *,
    follow: Annotated[bool, Parameter(name=("--follow", "-f"))] = False,
    since: str = "",
    until: str = "",
    type_: Annotated[tuple[str, ...], Parameter(name="--type", show_default=False)] = (),
    pod: str = "",
    pool: str = "",
    output: Output = "table",
    source: Source = SOURCE,
    connection: Connection = DEFAULT,
) -> int:
    """Print events.

    Parameters
    ----------
    follow
        Go on with each new event as it comes.
    since
        Only events committed at this time or later: 2026-11-22T21:14:05Z or '2h ago'.
    until
        Only events committed at this time or before.
    type_
        Only events of this type, such as AddressesAllocated. May be given more than once.
    pod
        Only events that touch this pod: NAMESPACE/NAME.
    pool
        Only events that touch this pool.
    """
    wanted = _Wanted(_moment(since, "--since", 0), _moment(until, "--until", 1 << 62), type_)
    _check(wanted, follow, output, pod, pool, until, source)
    printer = EventPrinter(output)
    if pod or pool:
        async with open_past(connection, source) as past:
            await _touching(past, pod, pool, since, until, wanted, printer)
        code = 0
    else:
        async with _commits(connection, source, follow=follow) as commits:
            code = await _all(commits, wanted, printer, follow=follow)
    printer.end()
    return code


@dataclass(frozen=True, slots=True)
class _Wanted:
    since: int
    until: int
    types: tuple[str, ...]


def _moment(text: str, option: str, otherwise: int) -> int:
    return parse_moment(text, option, wall_clock()) if text else otherwise


def _check(
    wanted: _Wanted, follow: bool, output: str, pod: str, pool: str, until: str, source: Source
) -> None:
    from ipledger.events.types import ALL

    known = sorted(kind.__name__ for kind in ALL)
    for name in wanted.types:
        if name not in known:
            there_are = f"there are {', '.join(known)}"
            raise UsageError(f"--type: no events are of type {name!r}; {there_are}")
    if follow and output == "json":
        raise UsageError("--follow has no end, and -o json is one array; use -o jsonl")
    for option, given in (("--from", source.file), ("--until", until), ("--pod", pod or pool)):
        if follow and given:
            raise UsageError(f"--follow waits for new events, and {option} tells of old ones")


async def _all(
    commits: AsyncIterator[Entry], wanted: _Wanted, printer: EventPrinter, *, follow: bool
) -> int:
    from ipledger.events.clock import parse_time
    from ipledger.replay.log import UnreadableCommit, events

    code = 0
    async for found in events(commits, since=wanted.since):
        if isinstance(found, UnreadableCommit):
            note(f"error: commit {found.sequence} cannot be read: {found.reason}")
            code = EXIT_DIFFERENCE
            continue
        if parse_time(found.time) > wanted.until:
            break
        if not wanted.types or type(found.event).__name__ in wanted.types:
            printer.show(found)
        if follow:
            sys.stdout.flush()
    return code


async def _touching(
    past: Past,
    pod: str,
    pool: str,
    since: str,
    until: str,
    wanted: _Wanted,
    printer: EventPrinter,
) -> None:
    """Events that touch a pod or a pool: the history knows where they are."""
    from ipledger.events.position import START
    from ipledger.replay.touching import touching

    start = await past.since_time(wanted.since) if since else START
    end = (await moment_of(past, until, "--until")).position
    found = [
        await touching(past, kind, name, start, end)
        for kind, name in (("pod", pod), ("pool", pool))
        if name
    ]
    both = sorted(set(found[0]).intersection(*found[1:]))
    async for logged in past.events(both):
        if not wanted.types or type(logged.event).__name__ in wanted.types:
            printer.show(logged)


@asynccontextmanager
async def _commits(
    connection: Connection, source: Source, *, follow: bool
) -> AsyncGenerator[AsyncIterator[Entry]]:
    """The stored commits; that the log lost some comes out as a difference."""
    from ipledger.events.log import BrokenLogError

    try:
        if follow:
            async with open_log(connection) as stream:
                yield stream.follow(0)
        else:
            async with any_source(connection, source) as log:
                yield log.read(0)
    except BrokenLogError as error:
        raise DifferenceError(str(error)) from error
