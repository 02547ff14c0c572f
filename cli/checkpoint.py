"""`ipledger checkpoint`: a signed note of how far the log goes, to be kept elsewhere."""

from __future__ import annotations

import sys

from ipledger.cli.connection import DEFAULT, Connection, engine_client
from ipledger.cli.errors import CliError
from ipledger.cli.output import Output, print_facts


async def checkpoint(
    *, fresh: bool = False, output: Output = "table", connection: Connection = DEFAULT
) -> None:
    """Print the newest signed checkpoint as a signed note, or with `-o json` as its event.

    Parameters
    ----------
    fresh
        Have one signed now, of everything acknowledged.
    """
    import msgspec

    from ipledger.events.checkpoint import note

    async with engine_client(connection) as client:
        found = await (client.sign_checkpoint() if fresh else client.checkpoint())
    if found is None:
        raise CliError("no checkpoint was signed yet (--fresh signs one)")
    if output in ("table", "wide"):
        sys.stdout.write(note(found))
    else:
        print_facts(msgspec.to_builtins(found), output)
