"""`ipledger annotate`: flow records with the pod that held each address at that time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, Annotated, Literal

from cyclopts import Parameter

from ipledger.cli.connection import DEFAULT, Connection
from ipledger.cli.errors import EXIT_FAILURE, CliError, UsageError
from ipledger.cli.output import note
from ipledger.cli.past import SOURCE, Source, open_past, stands_on


async def annotate(
    file: Path = Path("-"),
    /,
    *,
    ip_field: Annotated[tuple[str, ...], Parameter(show_default=False)],
    time_field: str,
    time_unit: Literal["s", "ms", "us", "ns"] = "s",
    format_: Annotated[Literal["jsonl", "csv"], Parameter(name="--format")] = "jsonl",
    source: Source = SOURCE,
    connection: Connection = DEFAULT,
) -> int:
    """Add to each flow record the pod that held its address at its time.

    With `--ip-field src` the fields src_namespace, src_pod, src_uid, src_node and src_allocation
    are added; where nobody held the address JSON has none of them, and CSV empty ones. Records
    come out in their order, those that cannot be read as they are; the exit code is then 1.

    Parameters
    ----------
    file
        The records; `-` is stdin.
    ip_field
        The field with an address. May be given more than once.
    time_field
        The field with the time: RFC 3339, or a number since the Unix epoch.
    time_unit
        The unit of times that are numbers.
    format_
        JSON lines, or CSV with a line of titles.
    """
    from ipledger.replay.annotate import UNITS, Tracks
    from ipledger.replay.flows import Fields, Flaws, annotate_csv, annotate_jsonl

    flaws = Flaws()
    fields = Fields(ip_field, time_field, UNITS[time_unit])
    make = annotate_jsonl if format_ == "jsonl" else annotate_csv
    async with open_past(connection, source) as past:
        tracks = Tracks(past)
        await tracks.load()
        stands_on(await past.now())
        with _opened(file) as lines:
            try:
                async for part in make(tracks, iter(lines), fields, flaws):
                    _write(part)
            except ValueError as error:
                raise UsageError(f"{file}: {error}") from None
    for flaw in flaws.shown:
        note(f"error: {flaw}")
    if flaws.count > len(flaws.shown):
        note(f"error: {flaws.count - len(flaws.shown)} more records could not be read")
    return EXIT_FAILURE if flaws.count else 0


def _opened(file: Path) -> IO[bytes]:
    try:
        return sys.stdin.buffer if str(file) == "-" else file.open("rb")
    except OSError as error:
        raise CliError(f"{file}: {error.strerror}") from None


def _write(part: bytes) -> None:
    """Bytes to stdout; where it takes text only, text."""
    out = getattr(sys.stdout, "buffer", None)
    if out is None:
        sys.stdout.write(part.decode())
    else:
        out.write(part)
