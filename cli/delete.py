"""`ipledger delete`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from ipledger.cli.connection import DEFAULT, Connection, engine_client
from ipledger.cli.errors import UsageError
from ipledger.cli.kinds import Kind, parse_kind
from ipledger.cli.output import emit

_APPLICATIONS = {
    **dict.fromkeys(("statefulset", "statefulsets", "sts"), "StatefulSet"),
    **dict.fromkeys(("virtualmachine", "virtualmachines", "vm", "vms"), "VirtualMachine"),
}


_SHORT = {Kind.POOLS: "ippool", Kind.SUBNETS: "subnet", Kind.RESERVATIONS: "reservedip"}


async def delete(
    kind: str,
    name: str,
    /,
    *,
    namespace: Annotated[str, Parameter(name=("--namespace", "-n"))] = "default",
    connection: Connection = DEFAULT,
) -> None:
    """Delete a pool or subnet that is not in use, a reservation, or an application with its holds.

    Parameters
    ----------
    kind
        `pool`, `subnet`, `reservation`, `statefulset` or `virtualmachine`, or another spelling of
        these: ippool, SpiderIPPool, SpiderSubnet, SpiderReservedIP, sts, vm.
    name
        Its name.
    namespace
        The namespace of an application.
    """
    application = _APPLICATIONS.get(kind.lower())
    if application is not None:
        async with engine_client(connection) as client:
            await client.delete_application(application, namespace, name)
        emit(f"{application.lower()}/{name} deleted")
        return
    what = parse_kind(kind)
    if what is Kind.ALLOCATIONS:
        raise UsageError(f"{kind} cannot be deleted; an allocation is freed by `ipledger release`")
    async with engine_client(connection) as client:
        if what is Kind.POOLS:
            await client.delete_pool(name)
        elif what is Kind.SUBNETS:
            await client.delete_subnet(name)
        else:
            await client.delete_reservation(name)
    emit(f"{_SHORT[what]}/{name} deleted")
