"""`ipledger restore`: a lost or damaged stream from its second copy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from ipledger.cli.connection import DEFAULT, Connection, nats_client, open_ledger, served
from ipledger.cli.errors import CliError, DifferenceError
from ipledger.cli.output import Output, print_facts, progress


async def restore(
    *,
    ledger: Annotated[Path, Parameter(name="--from")],
    replace: bool = False,
    dry_run: bool = False,
    replicas: Annotated[int, Parameter(validator=Number(gte=1, lte=5))] = 1,
    data: Path | None = None,
    output: Output = "table",
    connection: Connection = DEFAULT,
) -> None:
    """Make the stream hold what a ledger holds, byte for byte at the same positions.

    A stream that is gone is made anew, one that is too short is continued. No engine may run.
    A restore that was interrupted is run again.

    Parameters
    ----------
    ledger
        The ledger file.
    replace
        Also make a damaged stream anew. What can be read of it is saved beside the ledger first.
    dry_run
        Only tell what would be done.
    replicas
        How many servers keep the stream, where there is none yet.
    data
        Run the nats-server of this data directory meanwhile, when `ipledger up` does not run.
    """
    import msgspec

    from ipledger.events.log import BrokenLogError, LogUnavailableError
    from ipledger.replay.restore import DamagedError, Restore, RestoreError

    async with (
        open_ledger(ledger, connection) as copy,
        served(connection, data, "restore") as reached,
        nats_client(reached) as nc,
    ):
        try:
            restored = await Restore(nc, copy, replicas, progress).run(
                replace=replace, dry_run=dry_run
            )
        except (DamagedError, BrokenLogError) as error:
            raise DifferenceError(str(error)) from error
        except (RestoreError, LogUnavailableError) as error:
            raise CliError(str(error)) from error
    print_facts(msgspec.to_builtins(restored), output)
