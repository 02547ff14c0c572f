"""`ipledger verify`: is the log the record it claims to be?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ipledger.cli.connection import DEFAULT, Connection, open_ledger, open_log, served
from ipledger.cli.errors import EXIT_DIFFERENCE, DifferenceError, UsageError
from ipledger.cli.output import Output, note, print_facts, progress
from ipledger.cli.past import open_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipledger.events.types import CheckpointSigned
    from ipledger.replay.verify import Report


async def verify(
    *,
    file: Annotated[Path | None, Parameter(name="--from", show_default=False)] = None,
    ledger: Path | None = None,
    offline: bool = False,
    checkpoint: Annotated[tuple[Path, ...], Parameter(show_default=False)] = (),
    key: str = "",
    data: Path | None = None,
    output: Output = "table",
    connection: Connection = DEFAULT,
) -> int:
    """Check chain, order and invariants of the whole log. Exit code 3 if something is wrong.

    Parameters
    ----------
    file
        Verify this file and no server: a ledger, or what `ipledger export` wrote.
    ledger
        A ledger file, which the log must be identical with as far as the ledger goes.
    offline
        Only verify the ledger file; nothing is connected to.
    checkpoint
        A file with a checkpoint that was printed before; the log must go as far and have that
        commit. May be given more than once.
    key
        The public key that the checkpoints of these files must be signed by.
    data
        Run the nats-server of this data directory meanwhile, when `ipledger up` does not run.
    """
    import msgspec

    if file is not None and (ledger is not None or data is not None):
        raise UsageError("--from verifies a file alone: leave --ledger and --data out")
    if offline and ledger is None:
        raise UsageError("--offline verifies a file: name it with --ledger")
    if offline and data is not None:
        raise UsageError("--offline connects to nothing, and --data runs a server: use one of them")
    kept = _kept(checkpoint, key, connection.realm)
    if file is not None:
        report = await _verify_file(file, kept)
    else:
        report = await _verify(connection, ledger, kept, offline=offline, data=data)
    print_facts(msgspec.to_builtins(report), output)
    if report.ok:
        return 0
    note(f"error: {report.bad_position}: {report.reason}")
    return EXIT_DIFFERENCE


async def _verify_file(path: Path, kept: Sequence[CheckpointSigned]) -> Report:
    from ipledger.replay import verify

    async with open_file(path) as log:
        with progress("verifying", await log.last()) as tell:
            return await verify.verify(log, tell, kept)


async def _verify(
    connection: Connection,
    ledger: Path | None,
    kept: Sequence[CheckpointSigned],
    *,
    offline: bool,
    data: Path | None,
) -> Report:
    from ipledger.replay import verify

    if ledger is None:
        async with served(connection, data, "auditor") as reached, open_log(reached) as stream:
            with progress("verifying", await stream.last()) as tell:
                return await verify.verify(stream, tell, kept)
    async with open_ledger(ledger, connection) as copy:
        if offline:
            with progress("verifying", await copy.last()) as tell:
                return await verify.verify(copy, tell, kept)
        async with served(connection, data, "auditor") as reached, open_log(reached) as stream:
            with progress("verifying", await copy.last()) as tell:
                return await verify.compare(stream, copy, tell, kept)


def _kept(files: tuple[Path, ...], key: str, realm: str) -> list[CheckpointSigned]:
    """The checkpoints in files, each with a good signature."""
    from ipledger.events.checkpoint import CheckpointError, check_key

    if key and not files:
        raise UsageError("--key says who signed a checkpoint: name its file with --checkpoint")
    try:
        if key:
            check_key(key)
    except CheckpointError as error:
        raise UsageError(f"--key: {error}") from None
    return [_read(path, key, realm) for path in files]


def _read(path: Path, key: str, realm: str) -> CheckpointSigned:
    from ipledger.events.checkpoint import CheckpointError, check_signature, read

    try:
        found = read(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--checkpoint: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--checkpoint: {path}: not UTF-8 text") from None
    except CheckpointError as error:
        raise UsageError(f"--checkpoint: {path}: {error}") from None
    if found.realm != realm:
        raise UsageError(f"--checkpoint: {path} is of realm {found.realm!r}, not of {realm!r}")
    if key and found.key != key:
        raise DifferenceError(f"{path}: signed by {found.key}, not by {key}")
    try:
        check_signature(found)
    except CheckpointError as error:
        raise DifferenceError(f"{path}: {error}") from None
    return found
