"""The collector: what makes it look, and for how long it does.

It looks at a pod's allocations when a watch says that the pod is going, at its end or gone, and
when a grace that it waits for is over; and at all of them at its start and every ten minutes. One
collector is enough for a realm. Two do no harm: every release is conditional.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field

from ipledger.engine.client import EngineClient, EngineUnavailableError, RefusedError
from ipledger.engine.queries import AllocationsWhere
from ipledger.events import tracing
from ipledger.events.clock import format_time
from ipledger.events.facts import Application
from ipledger.events.wall_clock import wall_clock
from ipledger.gc import metrics
from ipledger.gc.applications import (
    Absences,
    delete_applications,
    gone_applications,
    known_applications,
    known_owners,
)
from ipledger.gc.case import SECOND
from ipledger.gc.claims import Claim, claim_of
from ipledger.gc.judge import Judgement, Verdict
from ipledger.gc.look import Looker
from ipledger.gc.report import Outcome, Report
from ipledger.gc.schedule import Schedule
from ipledger.gc.settings import DEFAULT, Settings
from ipledger.gc.view import View
from ipledger.projections.applications import ApplicationKey
from ipledger.projections.cluster.mirror import Change, Deleted, Synced
from ipledger.projections.cluster.pods import Pod

_log = logging.getLogger(__name__)

_LOOK_MAX = 100
_AGAIN_S = 30.0  # a look that failed


@dataclass(slots=True)
class Collector:
    """Collects the zombies of a realm whose pods are those of a cluster.

    `on_report` is told of every look.
    """

    engine: EngineClient
    view: View
    settings: Settings = DEFAULT
    clock: Callable[[], int] = wall_clock
    on_report: Callable[[Report], None] = lambda report: None
    _looker: Looker = field(init=False)
    _absences: Absences = field(init=False)
    _schedule: Schedule = field(default_factory=Schedule, init=False)
    _wake: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _synced: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def __post_init__(self) -> None:
        self._looker = Looker(self.engine, self.view, self.settings, self.clock)
        self._absences = Absences(self.settings)

    async def run(self) -> None:
        """Collect until cancelled. Whatever is away is waited for; nothing is freed meanwhile."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_pods())
            tasks.create_task(self._follow_nodes())
            tasks.create_task(self._compare_again_and_again())
            tasks.create_task(self._look_when_due())

    async def compare(self, *, dry_run: bool = False, sure: bool = False) -> Report:
        """Look at everything once. The view must be synced.

        With `dry_run` nothing is freed; `sure` opens the safety valve. Raises
        `EngineUnavailableError`, `RefusedError`.
        """
        async with self._looking:
            with metrics.COMPARISON_DURATION.time(), self._traced("gc.compare"):
                return await self._compare(dry_run=dry_run, sure=sure)

    async def _compare(self, *, dry_run: bool, sure: bool) -> Report:
        """The allocations are read first: who is in them had its pod before, and what a direct
        read says of that pod afterwards is newer."""
        report = Report()
        known = await known_applications(self.engine)
        claims: list[Claim] = []
        async for page in self.engine.allocations(AllocationsWhere()):
            report.position = page.position
            claims += map(claim_of, page.allocations)
        looker = self._looker
        looker.applications, looker.total = known, len(claims)
        looker.forget_others(claims)
        zombies = self._sorted(looker.judged(claims, report), report)
        looker.valve.forget_others(claim for claim, _ in zombies)
        await looker.settle(zombies, report, dry_run=dry_run, sure=sure)
        if not report.failure:
            await self._look_at_applications(known, report, dry_run=dry_run, sure=sure)
        _measure(report)
        self.on_report(report)
        return report

    async def _look_at_applications(
        self,
        known: Mapping[ApplicationKey, Application],
        report: Report,
        *,
        dry_run: bool,
        sure: bool,
    ) -> None:
        gone = await gone_applications(self.view, known.values())
        lasting, why = self._absences.admit(gone, len(known), self.clock())
        report.withheld = report.withheld or ("" if sure else why)
        asked = gone if dry_run or sure else lasting
        await delete_applications(
            self.view,
            self.engine,
            asked,
            report,
            dry_run=dry_run,
            sure=sure,
            parent=self._looker.traceparent,
        )

    def _sorted(
        self, found: list[tuple[Claim, Judgement]], report: Report
    ) -> list[tuple[Claim, Judgement]]:
        """The zombies; what is to be looked at again is put on the schedule."""
        zombies: list[tuple[Claim, Judgement]] = []
        for claim, judgement in found:
            if judgement.verdict is Verdict.FREE:
                zombies.append((claim, judgement))
            else:
                report.add(claim, judgement, Outcome.LATER, f"at {format_time(judgement.at)}")
                self._look(claim.pod.uid, judgement.at)
        return zombies

    async def _compare_again_and_again(self) -> None:
        await self._synced.wait()
        while True:
            pause_s = self.settings.interval_s
            try:
                report = await self.compare()
            except (EngineUnavailableError, RefusedError) as error:
                metrics.COMPARISONS.labels("engine-unavailable").inc()
                _log.warning("a full comparison has to wait: %s", error)
                pause_s = min(pause_s, _AGAIN_S)
            else:
                _tell(report)
                if report.failure:
                    pause_s = min(pause_s, _AGAIN_S)
            await asyncio.sleep(pause_s)

    async def _follow_pods(self) -> None:
        async with contextlib.aclosing(self.view.pods.changes()) as changes:
            async for change in changes:
                if isinstance(change, Synced):
                    self._note_synced()
                elif _is_going(change):
                    self._look(change.object.uid, self.clock())

    async def _follow_nodes(self) -> None:
        async with contextlib.aclosing(self.view.nodes.changes()) as changes:
            async for change in changes:
                if isinstance(change, Synced):
                    self._note_synced()

    def _note_synced(self) -> None:
        if self.view.is_synced:
            self._synced.set()

    def _look(self, uid: str, at: int) -> None:
        self._schedule.add(uid, at)
        self._wake.set()  # also for a later one: the clock may have been set since

    async def _look_when_due(self) -> None:
        while True:
            await self._until_due()
            uids = self._schedule.due(self.clock(), _LOOK_MAX)
            if not uids or not self.view.is_synced:
                continue  # the first full comparison looks at everything
            async with self._looking:
                with self._traced("gc.look"):
                    await self._look_at(uids)

    @contextlib.contextmanager
    def _traced(self, name: str) -> Generator[None]:
        with tracing.begin(name) as span:
            self._looker.traceparent = tracing.traceparent_of(span)
            yield

    async def _until_due(self) -> None:
        self._wake.clear()
        at = self._schedule.next_at()
        left_s = None if at is None else max(0.0, (at - self.clock()) / SECOND)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), left_s)

    async def _look_at(self, uids: list[str]) -> None:
        report = Report()
        try:
            found = await asyncio.gather(*map(self._claims_of, uids))
            claims = [claim for some in found for claim in some]
            if claims:
                self._looker.total = (await self.engine.status()).allocations
                await self._learn_owners(claims)
                zombies = self._sorted(self._looker.judged(claims, report), report)
                await self._looker.settle(zombies, report)
        except (EngineUnavailableError, RefusedError) as error:
            report.failure = f"the engine could not be asked: {error}"
        self.on_report(report)
        if report.failure:
            _log.warning("%d pods are looked at again: %s", len(uids), report.failure)
            for uid in uids:
                self._look(uid, self.clock() + round(_AGAIN_S * SECOND))

    async def _learn_owners(self, claims: list[Claim]) -> None:
        """What the log knows of them may be newer than the last full comparison."""
        for key, application in (await known_owners(self.engine, claims)).items():
            if application is None:
                self._looker.applications.pop(key, None)
            else:
                self._looker.applications[key] = application

    async def _claims_of(self, uid: str) -> list[Claim]:
        pages = self.engine.allocations(AllocationsWhere(uid=uid))
        return [claim_of(row) async for page in pages for row in page.allocations]


def _is_going(change: Change[Pod]) -> bool:
    """Whether it tells of a pod that is going, at its end or gone."""
    pod = change.object
    ended = pod.status.phase in ("Succeeded", "Failed")
    return isinstance(change, Deleted) or ended or pod.metadata.is_terminating


def _measure(report: Report) -> None:
    metrics.COMPARISONS.labels("cut-short" if report.failure else "done").inc()
    if not report.failure:
        metrics.COMPARED.set_to_current_time()
    metrics.WITHHELD.set(report.outcomes(Outcome.WITHHELD))
    metrics.ALLOCATIONS.clear()
    for (verdict, why), count in report.counts.items():
        metrics.ALLOCATIONS.labels(verdict, why).set(count)


def _tell(report: Report) -> None:
    _log.info(
        "compared %d allocations with %d pods: %d zombies, %d freed, %d withheld, %d spared%s",
        report.total,
        report.pods,
        report.zombies,
        report.outcomes(Outcome.FREED),
        report.outcomes(Outcome.WITHHELD),
        report.outcomes(Outcome.SPARED),
        f"; cut short: {report.failure}" if report.failure else "",
    )
