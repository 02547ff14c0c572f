"""`ipledger history`: every event that touched something."""

from __future__ import annotations

from typing import Literal

from ipledger.cli.connection import DEFAULT, Connection
from ipledger.cli.errors import EXIT_FAILURE, UsageError
from ipledger.cli.events import EventPrinter
from ipledger.cli.output import Output, note
from ipledger.cli.past import SOURCE, Source, moment_of, open_past, stands_on
from ipledger.cli.times import parse_moment
from ipledger.events.wall_clock import wall_clock


async def history(
    kind: Literal["ip", "pod", "pool", "node", "identity"],
    name: str,
    /,
    *,
    since: str = "",
    until: str = "",
    output: Output = "table",
    source: Source = SOURCE,
    connection: Connection = DEFAULT,
) -> int:
    """Print every event that touched an address, a pod, a pool, a node or an identity.

    Parameters
    ----------
    kind
        What is named.
    name
        An address, NAMESPACE/POD, a pool, a node, or an identity: UID or UID/INTERFACE.
    since
        Only events committed at this time or later: 2026-11-22T21:14:05Z or '2h ago'.
    until
        Only events up to this moment: a position, a time or '2h ago'.
    """
    from ipledger.events.position import START
    from ipledger.replay.touching import touching

    start = parse_moment(since, "--since", wall_clock()) if since else 0
    printer = EventPrinter(output)
    async with open_past(connection, source) as past:
        end = await moment_of(past, until, "--until")
        begin = await past.since_time(start) if since else START
        try:
            found = await touching(past, kind, name, begin, end.position)
        except ValueError as error:
            raise UsageError(str(error)) from None
        stands_on(end)
        async for logged in past.events(found):
            printer.show(logged)
    printer.end()
    if printer.count:
        return 0
    note(f"no events of {kind} {name}")
    return EXIT_FAILURE
