"""`ipledger delete`."""

from __future__ import annotations

from ipledger.cli.connection import DEFAULT, Connection, engine_client
from ipledger.cli.errors import UsageError
from ipledger.cli.kinds import Kind, parse_kind
from ipledger.cli.output import emit


async def delete(kind: str, name: str, /, *, connection: Connection = DEFAULT) -> None:
    """Delete a resource that is not in use.

    Parameters
    ----------
    kind
        `pool`, or another spelling of it: pools, ippool, SpiderIPPool.
    name
        Its name.
    """
    if parse_kind(kind) is not Kind.POOLS:
        raise UsageError(f"{kind} cannot be deleted; an allocation is freed by `ipledger release`")
    async with engine_client(connection) as client:
        await client.delete_pool(name)
    emit(f"ippool/{name} deleted")
