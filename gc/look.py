"""A look at some allocations: judge them, let the valve pass, read again, release on condition."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from opentelemetry.trace import Span

from ipledger.engine.client import EngineClient, EngineUnavailableError, RefusedError
from ipledger.engine.commands import ReleaseAllocation
from ipledger.events import tracing
from ipledger.events.clock import format_time
from ipledger.events.facts import Application
from ipledger.events.logs import tell
from ipledger.events.traceparent import trace_id
from ipledger.gc import metrics
from ipledger.gc.case import Case
from ipledger.gc.claims import Claim
from ipledger.gc.judge import Judgement, Verdict, judge
from ipledger.gc.report import Outcome, Report
from ipledger.gc.settings import Settings
from ipledger.gc.valve import NO_PODS, Valve
from ipledger.gc.view import View
from ipledger.projections.applications import ApplicationKey, key_of_owner
from ipledger.projections.cluster.live.api import (
    ApiError,
    ApiUnreachableError,
    ApiUnreadableError,
)
from ipledger.projections.cluster.nodes import Node
from ipledger.projections.cluster.pods import Pod

_log = logging.getLogger(__name__)

_READS_AT_ONCE = 32
_RELEASES_AT_ONCE = 256


@dataclass(slots=True)
class Looker:
    """Looks, and remembers what a later look needs. `clock` tells microseconds since the epoch.

    `traceparent` is of the look that goes on.
    """

    engine: EngineClient
    view: View
    settings: Settings
    clock: Callable[[], int]
    valve: Valve = field(init=False)
    applications: dict[ApplicationKey, Application] = field(
        default_factory=dict[ApplicationKey, Application]
    )
    total: int = 0
    traceparent: str = ""
    _seen: dict[str, int] = field(default_factory=dict[str, int], init=False)

    def __post_init__(self) -> None:
        self.valve = Valve(self.settings)

    def judged(self, claims: Iterable[Claim], report: Report) -> list[tuple[Claim, Judgement]]:
        """The claims that are not simply kept, as the watches have it."""
        found: list[tuple[Claim, Judgement]] = []
        for claim in claims:
            pod = self.view.pod_of(claim)
            judgement = judge(self._case(claim, pod, self.view.node_of(claim, pod)))
            report.count(judgement)
            if judgement.verdict is not Verdict.KEEP:
                found.append((claim, judgement))
        return found

    async def settle(
        self,
        zombies: Sequence[tuple[Claim, Judgement]],
        report: Report,
        *,
        dry_run: bool = False,
        sure: bool = False,
    ) -> None:
        """Free what is still a zombie when it is read again, as far as the valve lets it."""
        report.pods = len(self.view.pods.objects)
        judgements = {claim.allocation: judgement for claim, judgement in zombies}
        admitted = self.valve.admit(
            [claim for claim, _ in zombies], self.total, report.pods, self.clock(), sure=sure
        )
        report.withheld = admitted.why
        for claim in admitted.withheld:
            report.add(claim, judgements[claim.allocation], Outcome.WITHHELD)
        if admitted.why:
            _log.warning("%d zombies are withheld: %s", len(admitted.withheld), admitted.why)
        for start in range(0, len(admitted.now), _RELEASES_AT_ONCE):
            part = admitted.now[start : start + _RELEASES_AT_ONCE]
            confirmed = await self._confirmed(part, judgements, report)
            if not sure:
                confirmed = await self._believed(confirmed, report)
            if dry_run:
                for claim, judgement in confirmed:
                    report.add(claim, judgement, Outcome.WOULD_FREE)
            else:  # together, so that they are few commits
                await asyncio.gather(*(self._release(*one, report) for one in confirmed))

    async def _believed(
        self, confirmed: list[tuple[Claim, Judgement]], report: Report
    ) -> list[tuple[Claim, Judgement]]:
        """The same, unless the server that was read knows of no pod at all by now (ADR 80).

        The mirror may still have the pods that it knew before: its list comes later than the reads.
        """
        if not confirmed:
            return []
        try:
            if await self.view.knows_pods():
                return confirmed
            report.withheld = NO_PODS
            outcome, detail = Outcome.WITHHELD, ""
            _log.warning("%d zombies are withheld: %s", len(confirmed), NO_PODS)
        except (ApiError, ApiUnreachableError) as error:
            metrics.API_FAILURES.inc()
            report.failure = report.failure or f"the API server could not be asked: {error}"
            outcome, detail = Outcome.UNCONFIRMED, str(error)
        for claim, judgement in confirmed:
            report.add(claim, judgement, outcome, detail)
        return []

    async def _confirmed(
        self, claims: Sequence[Claim], judgements: Mapping[str, Judgement], report: Report
    ) -> list[tuple[Claim, Judgement]]:
        """Those that are zombies still when the API server is asked directly."""
        limit = asyncio.Semaphore(_READS_AT_ONCE)

        async def one(claim: Claim) -> tuple[Claim, Judgement] | None:
            async with limit:
                return await self._confirm(claim, judgements[claim.allocation], report)

        return [found for found in await asyncio.gather(*map(one, claims)) if found is not None]

    async def _confirm(
        self, claim: Claim, first: Judgement, report: Report
    ) -> tuple[Claim, Judgement] | None:
        """A failed read ends the whole look: what such a server says of others is not asked.

        One that only this pod cannot be read by, forbidden or in a shape that nobody knows, does
        not: the leaks of all others would stay for as long as it does.
        """
        if report.failure:
            report.add(claim, first, Outcome.UNCONFIRMED, report.failure)
            return None
        try:
            confirmed = await self._read_again(claim)
        except (ApiError, ApiUnreachableError) as error:
            metrics.API_FAILURES.inc()
            if not _is_of_one(error):
                report.failure = report.failure or f"the API server could not be asked: {error}"
            report.add(claim, first, Outcome.UNCONFIRMED, str(error))
            return None
        if confirmed.verdict is not Verdict.FREE:
            metrics.SPARED.labels(confirmed.why).inc()
            report.add(claim, first, Outcome.SPARED, confirmed.text)
            return None
        return claim, confirmed

    async def _read_again(self, claim: Claim) -> Judgement:
        """The verdict on what the API server says when it is asked directly.

        The allocation was read before: that its pod is gone then is gone for ever, since a pod is
        there before its ADD, and no UID comes back.
        """
        pod = await self.view.read_pod(claim)
        if pod is None or not pod.metadata.is_terminating:  # its node makes no difference
            return judge(self._case(claim, pod, self.view.node_of(claim, pod)))
        return judge(self._case(claim, pod, await self.view.read_node(claim, pod)))

    async def _release(self, claim: Claim, judgement: Judgement, report: Report) -> None:
        attributes = {"ipledger.allocation": claim.allocation, "ipledger.reason": judgement.why}
        with tracing.begin("gc.free", self.traceparent, attributes=attributes) as span:
            await self._free(claim, judgement, report, span)

    async def _free(self, claim: Claim, judgement: Judgement, report: Report, span: Span) -> None:
        command = ReleaseAllocation(
            allocation=claim.allocation,
            uid=claim.pod.uid,
            sandbox=claim.sandbox,
            reason="gc",
            evidence=f"{judgement.text}, confirmed at {format_time(self.clock())}"[:1024],
            traceparent=tracing.traceparent_of(span),
        )
        try:
            answer = await self.engine.release_allocation(command)
        except RefusedError as error:
            reason = error.refusal.reason
            tracing.fail(span, reason)
            metrics.REFUSED.labels(reason).inc()
            report.add(claim, judgement, Outcome.REFUSED, f"{reason}: {error}")
            message = f"allocation {claim.allocation} was not freed: {error}"
            _tell(message, claim, reason, command.traceparent)
        except EngineUnavailableError as error:
            tracing.fail(span, str(error))
            report.failure = report.failure or f"the engine could not be asked: {error}"
            report.add(claim, judgement, Outcome.UNCONFIRMED, str(error))
        else:
            metrics.FREED.labels(judgement.why).inc()
            self.valve.freed(claim.allocation, self.clock())
            report.add(claim, judgement, Outcome.FREED)
            message = f"allocation {claim.allocation} of {claim.pod} freed: {judgement.text}"
            _tell(message, claim, judgement.why, command.traceparent, answer.position)

    def forget_others(self, claims: Iterable[Claim]) -> None:
        """Everything was looked at: what is remembered of others is of no use any more."""
        uids = {claim.pod.uid for claim in claims}
        self._seen = {uid: at for uid, at in self._seen.items() if uid in uids}

    def _case(self, claim: Claim, pod: Pod | None, node: Node | None) -> Case:
        now, owner = self.clock(), claim.owner
        key = key_of_owner(owner, claim.pod.namespace) if owner else None
        application = self.applications.get(key) if key else None
        case = Case(claim, pod, node, application, self.settings, now)
        if case.has_ended and pod is not None and not pod.status.finished_at:
            seen = self._seen.setdefault(claim.pod.uid, now)
            return dataclasses.replace(case, seen=seen)
        return case


def _is_of_one(error: ApiError | ApiUnreachableError) -> bool:
    """Whether a read failed for what was read, and not for the server."""
    if isinstance(error, ApiError):
        return error.reason == "Forbidden"
    return isinstance(error, ApiUnreadableError)


def _tell(message: str, claim: Claim, reason: str, context: str, position: str = "") -> None:
    tell(
        _log,
        logging.INFO,
        message,
        allocation=claim.allocation,
        pod=str(claim.pod),
        node=claim.node,
        sandbox=claim.sandbox,
        interface=claim.interface,
        addresses=",".join(claim.addresses),
        reason=reason,
        position=position,
        trace_id=trace_id(context),
    )
