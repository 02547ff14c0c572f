"""`ipledger status`: how the engine is."""

from __future__ import annotations

from ipledger.cli.connection import DEFAULT, Connection, engine_client
from ipledger.cli.output import Output, print_facts


async def status(*, output: Output = "table", connection: Connection = DEFAULT) -> None:
    """Show how the engine is."""
    import msgspec

    async with engine_client(connection) as client:
        answer = await client.status()
    facts = msgspec.to_builtins(answer)
    del facts["type"]  # the tag of answers on the wire
    print_facts(facts, output)
