"""`ipledger gc`: one full comparison of the allocations with a cluster's pods."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ipledger.cli import gc_settings
from ipledger.cli.connection import DEFAULT, Connection, engine_client
from ipledger.cli.errors import CliError
from ipledger.cli.gc_settings import GcFlags
from ipledger.cli.output import Column, Output, field, note, print_rows

if TYPE_CHECKING:
    from ipledger.engine.client import EngineClient
    from ipledger.gc.report import Finding, Report
    from ipledger.gc.settings import Settings

_SYNC_TIMEOUT_S = 60.0


def _pod(row: Finding) -> str:
    return f"{row.namespace}/{row.pod}"


def _addresses(row: Finding) -> str:
    return ",".join(row.addresses)


def _why(row: Finding) -> str:
    return f"{row.reason}: {row.evidence}"


_COLUMNS = (
    field("ALLOCATION"),
    Column("POD", _pod),
    field("INTERFACE"),
    Column("ADDRESSES", _addresses),
    field("OUTCOME"),
    field("NODE", wide=True),
    field("UID", wide=True),
    field("SANDBOX", wide=True),
    Column("WHY", _why),
    field("DETAIL"),
)


async def gc(
    *,
    dry_run: bool = False,
    kubeconfig: Annotated[Path | None, Parameter(env_var="KUBECONFIG")] = None,
    yes: bool = False,
    output: Output = "table",
    flags: GcFlags = gc_settings.DEFAULT,
    connection: Connection = DEFAULT,
) -> int:
    """Compare all allocations with the pods of a cluster, and free those that no pod uses any more.

    Before anything is freed, the API server is asked for its pod directly. Where it cannot be
    asked, nothing is freed. Where too many seem to be zombies, none is freed without --yes.

    Parameters
    ----------
    dry_run
        Say what would be freed and why, and free nothing.
    kubeconfig
        How to reach the API server; inside a pod, its service account is used without one.
    yes
        Free however many there are.
    """
    from ipledger.gc.report import Outcome

    settings = flags.settings()
    async with engine_client(connection) as client:
        report = await _compare(client, kubeconfig, settings, dry_run=dry_run, sure=yes)
    findings = sorted(report.findings, key=lambda f: (len(f.allocation), f.allocation))
    print_rows(findings, _COLUMNS, output)
    note(_summary(report))
    if report.failure:
        raise CliError(report.failure)
    if report.withheld:
        raise CliError(f"{report.withheld}; --yes frees them")
    if unconfirmed := report.outcomes(Outcome.UNCONFIRMED):
        raise CliError(f"the pods of {unconfirmed} allocations could not be read")
    return 0


async def _compare(
    client: EngineClient, kubeconfig: Path | None, settings: Settings, **how: Any
) -> Report:
    import random

    from ipledger.gc.collector import Collector
    from ipledger.gc.view import View
    from ipledger.projections.cluster.live.api import ApiError, ApiUnreachableError
    from ipledger.projections.cluster.live.connect import KubeconfigError, connected

    try:
        async with connected(kubeconfig) as api:
            await api.call("GET", "/api/v1/namespaces", query={"limit": "1"})  # it fails at once
            view = View.of(api, settings.interval_s, random.random)
            await view.sync(_SYNC_TIMEOUT_S)
            return await Collector(client, view, settings).compare(**how)
    except (ApiError, ApiUnreachableError, KubeconfigError) as error:
        raise CliError(f"the API server cannot be asked: {error}") from error
    except TimeoutError as error:
        message = f"the API server did not list its pods within {_SYNC_TIMEOUT_S:.0f} s"
        raise CliError(message) from error


def _summary(report: Report) -> str:
    from ipledger.gc.report import Outcome

    parts = [f"{report.outcomes(o)} {o}" for o in Outcome if report.outcomes(o)]
    parts += [f"application {name} gone" for name in report.applications]
    done = f": {', '.join(parts)}" if parts else ": nothing to free"
    return f"{report.total} allocations compared with {report.pods} pods{done}"
