"""`ipledger delete`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from ipledger.cli.connection import DEFAULT, Connection, engine_client
from ipledger.cli.errors import UsageError
from ipledger.cli.kinds import Kind, parse_kind
from ipledger.cli.output import emit

_APPLICATIONS = {
    **dict.fromkeys(("deployment", "deployments", "deploy"), ("apps/v1", "Deployment")),
    **dict.fromkeys(("statefulset", "statefulsets", "sts"), ("apps/v1", "StatefulSet")),
    **dict.fromkeys(("daemonset", "daemonsets", "ds"), ("apps/v1", "DaemonSet")),
    **dict.fromkeys(("replicaset", "replicasets", "rs"), ("apps/v1", "ReplicaSet")),
    **dict.fromkeys(("job", "jobs"), ("batch/v1", "Job")),
    **dict.fromkeys(("cronjob", "cronjobs", "cj"), ("batch/v1", "CronJob")),
    **dict.fromkeys(
        ("virtualmachine", "virtualmachines", "vm", "vms"), ("kubevirt.io/v1", "VirtualMachine")
    ),
}
"""The apiVersion and kind of each workload, by what kubectl calls it."""

_SHORT = {Kind.POOLS: "ippool", Kind.SUBNETS: "subnet", Kind.RESERVATIONS: "reservedip"}


async def delete(
    kind: str,
    name: str,
    /,
    *,
    namespace: Annotated[str, Parameter(name=("--namespace", "-n"))] = "default",
    connection: Connection = DEFAULT,
) -> None:
    """Delete a pool or subnet that is not in use, a reservation, or an application.

    With an application goes what is held for it, and its auto pools unless they are to be kept.

    Parameters
    ----------
    kind
        `pool`, `subnet`, `reservation`, or a kind of workload such as `deployment`, in any spelling
        that kubectl takes: ippool, SpiderIPPool, SpiderSubnet, SpiderReservedIP, sts, vm.
    name
        Its name.
    namespace
        The namespace of an application.
    """
    application = _APPLICATIONS.get(kind.lower())
    if application is not None:
        await _delete_application(*application, namespace, name, connection)
        return
    what = parse_kind(kind)
    if what is Kind.ALLOCATIONS:
        raise UsageError(f"{kind} cannot be deleted; an allocation is freed by `ipledger release`")
    if what is Kind.QUARANTINES:
        raise UsageError(f"{kind} cannot be deleted; it is ended by `ipledger restore-address`")
    if what is Kind.APPLICATIONS:
        raise UsageError(f"{kind} is no kind of workload; name one such as deployment")
    async with engine_client(connection) as client:
        if what is Kind.POOLS:
            await client.delete_pool(name)
        elif what is Kind.SUBNETS:
            await client.delete_subnet(name)
        else:
            await client.delete_reservation(name)
    emit(f"{_SHORT[what]}/{name} deleted")


async def _delete_application(
    api_version: str, kind: str, namespace: str, name: str, connection: Connection
) -> None:
    from ipledger.engine.commands import DeleteApplication

    command = DeleteApplication(api_version=api_version, kind=kind, namespace=namespace, name=name)
    async with engine_client(connection) as client:
        await client.delete_application(command)
    emit(f"{kind.lower()}/{name} deleted")
