"""`ipledger verify`: is the log the record it claims to be?"""

from __future__ import annotations

from ipledger.cli.connection import DEFAULT, Connection, open_log
from ipledger.cli.errors import EXIT_DIFFERENCE
from ipledger.cli.output import Output, note, print_facts, progress


async def verify(*, output: Output = "table", connection: Connection = DEFAULT) -> int:
    """Check chain, order and invariants of the whole log. Exit code 3 if something is wrong."""
    import msgspec

    from ipledger.replay.verify import verify as verify_log

    async with open_log(connection) as stream:
        with progress("verifying", await stream.last()) as tell:
            report = await verify_log(stream, tell)
    print_facts(msgspec.to_builtins(report), output)
    if report.ok:
        return 0
    note(f"error: {report.bad_position}: {report.reason}")
    return EXIT_DIFFERENCE
