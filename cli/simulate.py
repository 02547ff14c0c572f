"""`ipledger simulate`: the recorded demand against other pools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ipledger.cli.connection import DEFAULT, Connection
from ipledger.cli.errors import EXIT_DIFFERENCE, UsageError
from ipledger.cli.output import Output, note, print_rows, progress
from ipledger.cli.past import SOURCE, Source, open_past, stands_on
from ipledger.cli.times import parse_moment
from ipledger.cli.views import OUTLOOK_COLUMNS
from ipledger.events.wall_clock import wall_clock

if TYPE_CHECKING:
    from ipledger.engine.commands import AnyApply


async def simulate(
    *,
    with_: Annotated[tuple[Path, ...], Parameter(name="--with", show_default=False)],
    since: str = "",
    output: Output = "table",
    source: Source = SOURCE,
    connection: Connection = DEFAULT,
) -> int:
    """Replay what was asked for against changed pools: peaks and refusals there would have been.

    Exit code 3 if more interfaces would have been refused than were.

    Parameters
    ----------
    with_
        Manifests of the resources as they would be. May be given more than once.
    since
        Replay from this time on, with what was allocated then; by default the whole log.
    """
    from ipledger.events.position import START
    from ipledger.replay.simulate import replayed

    commands = [command for path in with_ for command in _commands(path)]
    start = parse_moment(since, "--since", wall_clock()) if since else 0
    async with open_past(connection, source) as past:
        begin = await (past.at_time(start - 1) if since else past.at_position(START))
        stands_on(await past.now())
        with progress("replaying", past.last) as tell:
            simulation = await replayed(past, begin, commands, tell)
    for refusal in simulation.refusals:
        note(f"refused: {refusal.message}")
    outlook = simulation.outlook()
    print_rows(outlook, OUTLOOK_COLUMNS, output)
    worse = sum(row.refused for row in outlook) > sum(row.recorded_refused for row in outlook)
    return EXIT_DIFFERENCE if worse else 0


def _commands(path: Path) -> list[AnyApply]:
    from ipledger.kube.manifest import Manifest, parse

    try:
        found = parse(path.read_text(encoding="utf-8-sig"), str(path))
    except OSError as error:
        raise UsageError(f"--with: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--with: {path}: not UTF-8 text") from None
    commands: list[AnyApply] = []
    for manifest in found:
        if not isinstance(manifest, Manifest):
            raise UsageError(f"--with: {manifest}")
        commands.append(manifest.command)
    return commands
