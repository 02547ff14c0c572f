"""`ipledger export`: a copy of the log in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ipledger.cli.connection import DEFAULT, Connection
from ipledger.cli.errors import CliError, DifferenceError
from ipledger.cli.output import note, progress
from ipledger.cli.past import any_source


async def export(
    path: Path,
    /,
    *,
    format_: Annotated[Literal["jsonl", "csv", "sqlite"], Parameter(name="--format")] = "jsonl",
    file: Annotated[Path | None, Parameter(name="--from", show_default=False)] = None,
    connection: Connection = DEFAULT,
) -> None:
    """Write a copy of the log to a file that is not there yet.

    `jsonl` holds the stored commits, one a line, and `sqlite` is a ledger: `--from` takes both, and
    so does `verify`. `csv` is a table of events.

    Parameters
    ----------
    path
        The file.
    format_
        What to write.
    file
        Copy this ledger or export instead of the stream.
    """
    from ipledger.cli.past import Source
    from ipledger.events.log import BrokenLogError, LogUnavailableError
    from ipledger.replay.export import ExportError
    from ipledger.replay.export import export as write

    try:
        async with any_source(connection, Source(file)) as log:
            with progress("exporting", await log.last()) as tell:
                realm = getattr(log, "realm", connection.realm)
                count = await write(log, path, format_, realm, tell)
    except BrokenLogError as error:
        raise DifferenceError(str(error)) from error
    except (ExportError, LogUnavailableError) as error:
        raise CliError(str(error)) from error
    note(f"{count} commits in {path}")
