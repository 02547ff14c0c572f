"""Applications that the log knows and the cluster does not: their holds and auto pools go."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable
from itertools import groupby

from ipledger.engine.client import EngineClient, RefusedError
from ipledger.engine.commands import DeleteApplication
from ipledger.engine.queries import Applications
from ipledger.events.facts import Application
from ipledger.gc import metrics
from ipledger.gc.claims import Claim
from ipledger.gc.report import Report
from ipledger.gc.settings import Settings
from ipledger.gc.view import View
from ipledger.projections.applications import ApplicationKey, key_of, key_of_owner
from ipledger.projections.cluster.live.api import ApiError, ApiUnreachableError

_log = logging.getLogger(__name__)

_LIST_TIMEOUT_S = 60.0
_KUBERNETES_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def known_applications(engine: EngineClient) -> dict[ApplicationKey, Application]:
    """The applications that the log knows."""
    rows = [row async for page in engine.applications(Applications()) for row in page.applications]
    return {key_of(row.fact()): row.fact() for row in rows}


async def known_owners(
    engine: EngineClient, claims: Iterable[Claim]
) -> dict[ApplicationKey, Application | None]:
    """What the log knows of the owners of these claims' places, None where it knows nothing."""
    keys = {key_of_owner(c.owner, c.pod.namespace) for c in claims if c.owner and c.place}

    async def one(key: ApplicationKey) -> Application | None:
        pages = engine.applications(Applications(key.namespace, key.name))
        facts = [row.fact() async for page in pages for row in page.applications]
        return next((fact for fact in facts if key_of(fact) == key), None)

    ordered = sorted(keys)
    return dict(zip(ordered, await asyncio.gather(*map(one, ordered)), strict=True))


async def gone_applications(view: View, known: Iterable[Application]) -> list[Application]:
    """The applications with a UID that are not in the cluster, by a list of their kind.

    A kind that cannot be listed keeps its applications. One that has another UID now is not gone:
    the controller tells the log what it is.
    """
    told = (a for a in known if _KUBERNETES_UID.fullmatch(a.uid))
    gone: list[Application] = []
    by_kind = sorted(told, key=_kind)
    for (api_version, kind), group in groupby(by_kind, key=_kind):
        try:
            listed = await view.list_owners(api_version, kind, _LIST_TIMEOUT_S)
        except (ApiError, ApiUnreachableError, TimeoutError) as error:
            metrics.API_FAILURES.inc()
            _log.warning("%s of %s cannot be listed: %r", kind, api_version, error)
            continue
        gone += [a for a in group if listed.objects.get(a.namespace, a.name) is None]
    return gone


async def delete_applications(
    view: View,
    engine: EngineClient,
    gone: list[Application],
    total: int,
    settings: Settings,
    report: Report,
    *,
    dry_run: bool = False,
    sure: bool = False,
) -> None:
    """Tell the log of applications that are gone when they are read again, if they are not many."""
    limit = max(settings.count_max, int(settings.share_max * total))
    if len(gone) > limit and not sure:
        report.withheld = report.withheld or (
            f"{len(gone)} of {total} applications seem to be gone: no more than {limit} are"
            " believed"
        )
        return
    for application in gone:
        try:
            if await view.read_owner(application) is not None:
                continue
        except (ApiError, ApiUnreachableError) as error:
            metrics.API_FAILURES.inc()
            report.failure = f"the API server could not be asked: {error}"
            return
        report.applications.append(str(key_of(application)))
        if not dry_run:
            await _delete(engine, application)


async def _delete(engine: EngineClient, application: Application) -> None:
    command = DeleteApplication(
        api_version=application.api_version,
        kind=application.kind,
        namespace=application.namespace,
        name=application.name,
        uid=application.uid,
    )
    try:
        await engine.delete_application(command)
    except RefusedError as error:
        metrics.REFUSED.labels(error.refusal.reason).inc()
        _log.info("%s was not deleted: %s", key_of(application), error)
    else:
        metrics.APPLICATIONS_DELETED.inc()
        _log.info("%s is gone", key_of(application))


def _kind(application: Application) -> tuple[str, str]:
    return application.api_version, application.kind
