"""`ipledger apply`: manifests to the engine, each document a command of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ipledger.cli.connection import DEFAULT, Connection, engine_client
from ipledger.cli.errors import EXIT_FAILURE
from ipledger.cli.output import Format, Output, emit, note, print_rows

if TYPE_CHECKING:
    from ipledger.cli.outcomes import Outcome
    from ipledger.engine.client import EngineClient
    from ipledger.kube.manifest import ManifestError, PoolManifest


async def apply(
    *,
    file: Annotated[tuple[str, ...], Parameter(name=("--file", "-f"), allow_leading_hyphen=True)],
    output: Output = "table",
    connection: Connection = DEFAULT,
) -> int:
    """Create or change what manifests describe.

    Parameters
    ----------
    file
        A file of YAML or JSON documents; `-` is stdin. May be given more than once.
    """
    manifests = list(_read(file))
    outcomes: list[Outcome] = []
    try:
        async with engine_client(connection) as client:
            for manifest in manifests:
                outcomes.append(await _apply(client, manifest))
                _tell(outcomes[-1], output)
    finally:
        if output not in ("table", "wide"):
            print_rows(outcomes, (), output)
    return EXIT_FAILURE if any(outcome.error for outcome in outcomes) else 0


def _read(names: tuple[str, ...]) -> Iterator[PoolManifest | ManifestError | Outcome]:
    from ipledger.cli.outcomes import Outcome
    from ipledger.kube.manifest import parse

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
            yield from results
            if not results:
                yield Outcome(error=f"{source}: no documents")


async def _apply(client: EngineClient, manifest: PoolManifest | ManifestError | Outcome) -> Outcome:
    from ipledger.cli.outcomes import Outcome
    from ipledger.engine.client import RefusedError
    from ipledger.kube.manifest import POOL_KIND, ManifestError

    if isinstance(manifest, Outcome):
        return manifest
    if isinstance(manifest, ManifestError):
        return Outcome(manifest.kind, manifest.name, error=str(manifest))
    name = manifest.spec.name
    try:
        applied = await client.apply_pool(manifest.spec)
    except RefusedError as error:
        refused = manifest.refused(error.refusal.field, error.refusal.message)
        return Outcome(POOL_KIND, name, error=str(refused))
    return Outcome(POOL_KIND, name, applied.outcome)


def _tell(outcome: Outcome, output: Format) -> None:
    if outcome.error:
        note(f"error: {outcome.error}")
    elif output in ("table", "wide"):
        emit(f"ippool/{outcome.name} {outcome.outcome}")
