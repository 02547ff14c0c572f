"""`ipledger release`: free an allocation by hand."""

from __future__ import annotations

from ipledger.cli.connection import DEFAULT, Connection, engine_client
from ipledger.cli.output import emit


async def release(
    allocation: str,
    /,
    *,
    sandbox: str = "",
    reason: str = "",
    connection: Connection = DEFAULT,
) -> None:
    """Free the addresses of an allocation.

    Parameters
    ----------
    allocation
        Its id, as `ipledger get allocations` shows it.
    sandbox
        Release it only if it still has this sandbox.
    reason
        Why, for the record: it is stored in the event.
    """
    from ipledger.engine.commands import ReleaseAllocation

    command = ReleaseAllocation(allocation=allocation, sandbox=sandbox or None, evidence=reason)
    async with engine_client(connection) as client:
        await client.release_allocation(command)
    emit(f"allocation/{allocation} released")
