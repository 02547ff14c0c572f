"""Applications that the log knows and the cluster does not: their holds and auto pools go."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby

from ipledger.engine.client import EngineClient, RefusedError
from ipledger.engine.commands import DeleteApplication
from ipledger.engine.queries import Applications
from ipledger.events.facts import Application
from ipledger.gc import metrics
from ipledger.gc.case import SECOND
from ipledger.gc.claims import Claim
from ipledger.gc.report import Report
from ipledger.gc.settings import Settings
from ipledger.gc.valve import NO_PODS
from ipledger.gc.view import View
from ipledger.projections.applications import ApplicationKey, key_of, key_of_owner
from ipledger.projections.cluster.live.api import ApiError, ApiUnreachableError

_log = logging.getLogger(__name__)

_LIST_TIMEOUT_S = 60.0
_KUBERNETES_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(slots=True)
class Absences:
    """Since when applications are not there: unlike an allocation, the log knows no age of them."""

    settings: Settings
    _since: dict[str, int] = field(default_factory=dict[str, int], init=False)

    def admit(self, gone: list[Application], total: int, now: int) -> tuple[list[Application], str]:
        """Those of `total` that may be deleted now, and why others may not, '' for their age.

        `gone` are all that are not there, `now` is in microseconds. It must have been so for the
        least age of an allocation; for the time of a second look, where there are many (ADR 53).
        """
        self._since = {one.uid: self._since.get(one.uid, now) for one in gone}
        lasting = self._absent(gone, now, self.settings.min_age_s)
        old = self._absent(gone, now, self.settings.second_look_s)
        limit = max(self.settings.count_max, int(self.settings.share_max * total))
        if len(lasting) - len(old) <= limit:
            return lasting, ""
        return old, (
            f"{len(lasting) - len(old)} of {total} applications seem to be gone: more than {limit}"
            f" are believed {self.settings.second_look_s:.0f} s later only"
        )

    def _absent(self, gone: list[Application], now: int, for_s: float) -> list[Application]:
        return [one for one in gone if self._since[one.uid] + round(for_s * SECOND) <= now]


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
    report: Report,
    *,
    dry_run: bool = False,
    sure: bool = False,
    parent: str = "",
) -> None:
    """Tell the log, in a trace, of applications that are gone when they are read again."""
    for application in gone:
        try:
            if await view.read_owner(application) is not None:
                continue
            if not sure and not await view.knows_pods():
                report.withheld = report.withheld or NO_PODS
                return
        except (ApiError, ApiUnreachableError) as error:
            metrics.API_FAILURES.inc()
            report.failure = f"the API server could not be asked: {error}"
            return
        report.applications.append(str(key_of(application)))
        if not dry_run:
            await _delete(engine, application, parent)


async def _delete(engine: EngineClient, application: Application, parent: str) -> None:
    command = DeleteApplication(
        api_version=application.api_version,
        kind=application.kind,
        namespace=application.namespace,
        name=application.name,
        uid=application.uid,
    )
    try:
        await engine.delete_application(command, parent)
    except RefusedError as error:
        metrics.REFUSED.labels(error.refusal.reason).inc()
        _log.info("%s was not deleted: %s", key_of(application), error)
    else:
        metrics.APPLICATIONS_DELETED.inc()
        _log.info("%s is gone", key_of(application))


def _kind(application: Application) -> tuple[str, str]:
    return application.api_version, application.kind
