"""`ipledger apply`: manifests to the engine, each document a command of its own."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ipledger.cli.connection import DEFAULT, Connection, engine_client
from ipledger.cli.errors import EXIT_FAILURE
from ipledger.cli.kinds import short_kind
from ipledger.cli.output import Format, Output, emit, json_line, note, print_rows

if TYPE_CHECKING:
    from ipledger.cli.outcomes import Outcome
    from ipledger.engine.answers import Forecast
    from ipledger.engine.client import EngineClient
    from ipledger.kube.manifest import Manifest, ManifestError


async def apply(
    *,
    file: Annotated[tuple[str, ...], Parameter(name=("--file", "-f"), allow_leading_hyphen=True)],
    dry_run: bool = False,
    output: Output = "table",
    connection: Connection = DEFAULT,
) -> int:
    """Create or change what manifests describe.

    Parameters
    ----------
    file
        A file of YAML or JSON documents; `-` is stdin. May be given more than once.
    dry_run
        Only tell what would change and what would be refused, each document after those before it.
    """

    read = list(_read(file))
    outcomes: list[Outcome] = []
    try:
        async with engine_client(connection) as client:
            async for outcome in (_forecast if dry_run else _applied)(client, read):
                outcomes.append(outcome)
                _tell(outcome, output)
    finally:
        if output not in ("table", "wide"):
            print_rows(outcomes, (), output)
    return EXIT_FAILURE if any(outcome.error for outcome in outcomes) else 0


def _read(names: tuple[str, ...]) -> Iterator[Manifest | Outcome]:
    """The manifests, and in the place of each that cannot be used an outcome with the error."""
    from ipledger.cli.outcomes import Outcome
    from ipledger.kube.manifest import ManifestError, parse

    for name in names:
        source = "stdin" if name == "-" else name
        try:
            data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
            results = parse(data.decode("utf-8-sig"), source)
        except OSError as error:
            yield Outcome(error=f"{source}: {error.strerror}")
        except UnicodeDecodeError as error:
            yield Outcome(error=f"{source}: not UTF-8 text (byte {error.start})")
        else:
            yield from (_failed(r) if isinstance(r, ManifestError) else r for r in results)
            if not results:
                yield Outcome(error=f"{source}: no documents")


async def _applied(
    client: EngineClient, read: Iterable[Manifest | Outcome]
) -> AsyncIterator[Outcome]:
    from ipledger.cli.outcomes import Outcome
    from ipledger.engine.client import RefusedError

    for manifest in read:
        if isinstance(manifest, Outcome):
            yield manifest
            continue
        try:
            applied = await client.apply(manifest.command)
        except RefusedError as error:
            yield _failed(manifest.refused(error.refusal.field, error.refusal.message))
        else:
            yield Outcome(manifest.kind, manifest.name, applied.outcome)


async def _forecast(
    client: EngineClient, read: Iterable[Manifest | Outcome]
) -> AsyncIterator[Outcome]:
    from ipledger.cli.outcomes import Outcome

    read = list(read)
    commands = tuple(m.command for m in read if not isinstance(m, Outcome))
    forecasts = iter(await client.check(commands))
    for manifest in read:
        if isinstance(manifest, Outcome):
            yield manifest
        else:
            yield _foretold(manifest, next(forecasts))


def _foretold(manifest: Manifest, forecast: Forecast) -> Outcome:
    from ipledger.cli.outcomes import Outcome

    refusal = forecast.refusal
    if refusal is not None:
        return _failed(manifest.refused(refusal.field, refusal.message))
    return Outcome(
        manifest.kind,
        manifest.name,
        forecast.outcome,
        dry_run=True,
        changes=forecast.changes,
    )


def _failed(error: ManifestError) -> Outcome:
    from ipledger.cli.outcomes import Outcome

    return Outcome(error.kind, error.name, error=str(error))


def _tell(outcome: Outcome, output: Format) -> None:
    if outcome.error:
        note(f"error: {outcome.error}")
    elif output in ("table", "wide"):
        mark = " (dry run)" if outcome.dry_run else ""
        emit(f"{short_kind(outcome.kind)}/{outcome.name} {outcome.outcome}{mark}")
        for change in outcome.changes:
            before, after = json_line(change.before), json_line(change.after)
            emit(f"  {change.field}: {before} -> {after}")
