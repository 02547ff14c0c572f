"""`ipledger diff`: two moments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipledger.cli.connection import DEFAULT, Connection
from ipledger.cli.errors import EXIT_DIFFERENCE
from ipledger.cli.output import Column, Output, field, json_line, print_rows
from ipledger.cli.past import SOURCE, Source, moment_of, open_past, stands_on

if TYPE_CHECKING:
    from ipledger.replay.difference import Difference

_SHOWN_OF_ALLOCATION = ("namespace", "pod", "interface", "node", "addresses")
_SHOWN_OF_RESOURCE = ("subnet", "ips", "total", "kind", "replicas", "pool", "mac", "evidence")


async def diff(
    before: str,
    after: str = "",
    /,
    *,
    output: Output = "table",
    source: Source = SOURCE,
    connection: Connection = DEFAULT,
) -> int:
    """Show what differs between two moments. Exit code 3 if anything does.

    Parameters
    ----------
    before
        A moment: a position, a commit, a time or '2h ago'.
    after
        Another one; the end of the log if not given.
    """
    from ipledger.replay.difference import differences, picture

    async with open_past(connection, source) as past:
        moments = [
            await moment_of(past, text, name) for text, name in ((before, "A"), (after, "B"))
        ]
        pictures = [picture(await past.state(moment.position)) for moment in moments]
        for moment in moments:
            stands_on(moment)
    found = list(differences(*pictures))
    print_rows(found, _COLUMNS, output)
    return EXIT_DIFFERENCE if found else 0


def _shown(difference: Difference) -> str:
    """The fields that changed; of what came or went, those that tell it from others."""
    if difference.change == "changed":
        return ", ".join(
            f"{c.field}: {json_line(c.before)} -> {json_line(c.after)}" for c in difference.changes
        )
    values = {c.field: c.before if c.after is None else c.after for c in difference.changes}
    is_allocation = difference.kind == "allocation"
    wanted = _SHOWN_OF_ALLOCATION if is_allocation else _SHOWN_OF_RESOURCE
    return " ".join(_text(values[field]) for field in wanted if values.get(field))


def _text(value: Any) -> str:
    """A field's value: a list by what its items are called."""
    if isinstance(value, str | int):
        return str(value)
    return ",".join(held if isinstance(held, str) else held["address"] for held in value)


_COLUMNS = (
    field("KIND"),
    field("NAME"),
    field("CHANGE"),
    Column("WHAT", _shown),
)
