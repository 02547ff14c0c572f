"""`ipledger import spiderpool`: takes over what a cluster's Spiderpool has given out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

from ipledger.cli.connection import DEFAULT, Connection, engine_client, nats_client
from ipledger.cli.errors import EXIT_DIFFERENCE, CliError
from ipledger.cli.output import Column, Output, field, note, print_rows

if TYPE_CHECKING:
    from ipledger.engine.client import EngineClient
    from ipledger.engine.commands import AnyApply, ApplyPool, ImportAllocation, ImportAutoPool
    from ipledger.kube.disagreements import Contradiction
    from ipledger.kube.rehearsal import Step
    from ipledger.kube.spiderpool import Spiderpool
    from ipledger.kube.takeover import Plan

    AnyGiven: TypeAlias = AnyApply | ImportAutoPool | ImportAllocation


def _addresses(step: Step) -> str:
    return ",".join(step.addresses)


_AT_ONCE = 64
"""Commands on their way at a time: they share commits."""

_CONTRADICTIONS = (
    field("ABOUT"),
    Column("ONE SIDE", attrgetter("one")),
    Column("OTHER SIDE", attrgetter("other")),
    field("LEFTOVER"),
)
_STEPS = (
    field("KIND"),
    field("NAME"),
    field("OUTCOME"),
    Column("ADDRESSES", _addresses),
)


async def import_spiderpool(
    *,
    kubeconfig: Annotated[Path, Parameter(show_default=False)],
    dry_run: bool = False,
    skip_leftovers: bool = False,
    output: Output = "table",
    connection: Connection = DEFAULT,
) -> int:
    """Take over pools, subnets, reservations and live allocations of a cluster's Spiderpool.

    Everything is read and checked first: records of pools against SpiderEndpoints against the
    addresses of pods, and all of it by the engine's rules. Any contradiction is listed with both
    sides, and nothing is changed then: exit code 3. To do it again is harmless.

    Parameters
    ----------
    kubeconfig
        The kubeconfig file of the cluster; it is only read from.
    dry_run
        Only tell what would be taken over.
    skip_leftovers
        Leave out what is recorded for pods that are gone, instead of refusing for it.
    """
    connection.check()
    found = await _read(kubeconfig)
    from ipledger.kube.takeover import plan

    made = plan(found)
    steps, contradictions = await _rehearsed(connection, made)
    left_out = [c for c in contradictions if c.leftover and skip_leftovers]
    for one in left_out:
        note(f"left out: {one.about}: {one.one}, but {one.other}")
    against = [c for c in contradictions if c not in left_out]
    if against:
        print_rows(against, _CONTRADICTIONS, output)
        note(f"error: {len(against)} contradictions; nothing was changed")
        return EXIT_DIFFERENCE
    if all(step.outcome == "unchanged" for step in steps):
        note("nothing to import: the log has all of it")
    elif not dry_run:
        async with engine_client(connection) as client:
            await _carry_out(client, made, steps)
    print_rows(_marked(steps, dry_run=dry_run), _STEPS, output)
    return 0


async def _read(kubeconfig: Path) -> Spiderpool:
    from ipledger.kube.spiderpool import read_spiderpool
    from ipledger.projections.cluster.live.api import ApiError, ApiUnreachableError
    from ipledger.projections.cluster.live.connect import KubeconfigError, connected

    try:
        async with connected(kubeconfig) as api:
            return await read_spiderpool(api)
    except (ApiError, ApiUnreachableError, KubeconfigError) as error:
        raise CliError(f"the cluster cannot be read: {error}") from error


async def _rehearsed(connection: Connection, made: Plan) -> tuple[list[Step], list[Contradiction]]:
    """The plan played through behind all that the log has."""
    from ipledger.engine.object_store import JetStreamSnapshots
    from ipledger.engine.snapshots import Snapshots, load
    from ipledger.events.direct_log import DirectLog
    from ipledger.events.log import BrokenLogError, LogUnavailableError
    from ipledger.kube.rehearsal import rehearse

    async with nats_client(connection) as nc:
        realm = connection.realm
        try:
            fold = await load(DirectLog(nc, realm), Snapshots(JetStreamSnapshots(nc, realm), realm))
        except (BrokenLogError, LogUnavailableError) as error:
            raise CliError(f"{error} (NATS at {connection.shown})") from error
    return rehearse(fold, made)


async def _carry_out(client: EngineClient, made: Plan, steps: list[Step]) -> None:
    """Give the commands that change something; what was done stays done, whatever becomes of the
    rest.

    A pool that changes gives out nothing until its allocations are there: an ADD that comes in
    between must not get an address in use.
    """
    from ipledger.engine.commands import (
        ApplyApplication,
        ApplyPool,
        ImportAllocation,
        ImportAutoPool,
    )

    commands = [*(resource.command for resource in made.resources), *made.allocations]
    steps_of = zip(commands, steps, strict=True)
    due = [command for command, step in steps_of if step.outcome != "unchanged"]
    opened = [command for command in due if isinstance(command, ApplyPool | ImportAutoPool)]
    for command in due:
        if isinstance(command, ApplyPool | ImportAutoPool):
            await _give(client, _closed(command))
        elif not isinstance(command, ApplyApplication | ImportAllocation):
            await _give(client, command)
    for kind in (ApplyApplication, ImportAllocation):
        await _give_all(client, [command for command in due if isinstance(command, kind)])
    for command in opened:
        await _give(client, command)


async def _give(client: EngineClient, command: AnyGiven) -> None:
    from ipledger.engine.commands import ImportAllocation, ImportAutoPool

    match command:
        case ImportAutoPool():
            await client.import_auto_pool(command)
        case ImportAllocation():
            await client.import_allocation(command)
        case _:
            await client.apply(command)


def _closed(command: ApplyPool | ImportAutoPool) -> ApplyPool | ImportAutoPool:
    from msgspec.structs import replace

    return replace(command, pool=replace(command.pool, disable=True))


async def _give_all(client: EngineClient, commands: Sequence[AnyGiven]) -> None:
    """Give commands that do not wait for one another."""
    waiting = asyncio.Semaphore(_AT_ONCE)

    async def one(command: AnyGiven) -> None:
        async with waiting:
            await _give(client, command)

    tasks = [asyncio.create_task(one(command)) for command in commands]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _marked(steps: list[Step], *, dry_run: bool) -> list[Step]:
    import msgspec

    return [msgspec.structs.replace(step, dry_run=dry_run) for step in steps]
