"""The judge: may an allocation's addresses be freed, for all that is known of its pod?

`TABLE` is the whole rule. The first row that fits decides. It is pure: time comes in, nothing is
asked. What is freed is freed on condition: the release names the allocation, the pod's UID and
the sandbox that were judged, and the engine refuses it when any of them has changed.

It follows the reference's table (Spiderpool's gcmanager) but for these: a deletion timestamp has
the pod's grace in it already, which is not waited for twice; a node object that is gone is a node
that is not ready; a ready node's kubelet is believed while it says that containers run; static
pods and pods of other runtimes, which an API server does not know, are left alone (ADR 52).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from ipledger.gc.case import SECOND, Case

_AGAIN = 60 * SECOND


class Verdict(StrEnum):
    """What becomes of an allocation."""

    KEEP = "keep"
    FREE = "free"
    AGAIN = "again"


class Why(StrEnum):
    """The reason of a verdict: one for each row."""

    NOT_OF_KUBERNETES = "not-of-kubernetes"
    NOT_STARTED = "not-started"
    RUNNING = "running"
    PHASE_UNKNOWN = "phase-unknown"
    PLACE_EXISTS = "place-exists"
    YOUNG = "young"
    RUNNING_WITHOUT_IPS = "running-without-ips"
    WITHIN_GRACE = "within-grace"
    ENDED = "ended"
    TERMINATING = "terminating"
    TORN_DOWN = "torn-down"
    NOT_COLLECTED = "not-collected"
    STILL_RUNNING = "still-running"
    TERMINATED = "terminated"
    NODE_LOST = "node-lost"
    REPLACED = "replaced"
    GONE = "gone"


class Judgement(NamedTuple):
    """A verdict, its reason, what was seen; `at` is when to look again (microseconds)."""

    verdict: Verdict
    why: Why
    evidence: str
    at: int = 0

    @property
    def text(self) -> str:
        """Reason and evidence, as a release records them."""
        return f"{self.why}: {self.evidence}"


def _never(case: Case) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: when it fits, what follows, and when to look again."""

    fits: Callable[[Case], bool]
    verdict: Verdict
    why: Why
    at: Callable[[Case], int] = _never


KEEP, FREE, AGAIN = Verdict.KEEP, Verdict.FREE, Verdict.AGAIN

TABLE: tuple[Row, ...] = (
    Row(lambda c: not c.claim.is_of_kubernetes, KEEP, Why.NOT_OF_KUBERNETES),
    # The pod is there, and nobody wants it to go.
    Row(lambda c: c.is_alive and c.phase == "Pending", KEEP, Why.NOT_STARTED),
    Row(lambda c: c.is_alive and c.phase == "Running" and c.counts_as_used, KEEP, Why.RUNNING),
    Row(lambda c: c.is_alive and c.phase != "Running", KEEP, Why.PHASE_UNKNOWN),
    # From here on it is gone, at its end or going. Whoever comes next may want the addresses.
    Row(lambda c: c.place_exists, KEEP, Why.PLACE_EXISTS),
    Row(lambda c: c.now < c.old_at, AGAIN, Why.YOUNG, lambda c: c.old_at),
    Row(lambda c: c.is_alive, FREE, Why.RUNNING_WITHOUT_IPS),
    # It has ended: a Job is done, or it was evicted.
    Row(lambda c: c.has_just_ended, AGAIN, Why.WITHIN_GRACE, lambda c: c.ended_at),
    Row(lambda c: c.has_ended, FREE, Why.ENDED),
    # It is being deleted. Within its grace it is a zombie only if its sandbox is gone already.
    Row(lambda c: c.is_terminating and not c.is_collected, KEEP, Why.NOT_COLLECTED),
    Row(lambda c: c.is_within_grace and c.is_torn_down, FREE, Why.TORN_DOWN),
    Row(lambda c: c.is_within_grace, AGAIN, Why.TERMINATING, lambda c: c.deleted_at),
    Row(lambda c: c.is_reported_running, AGAIN, Why.STILL_RUNNING, lambda c: c.now + _AGAIN),
    Row(lambda c: c.is_terminating and c.is_node_ready, FREE, Why.TERMINATED),
    Row(lambda c: c.is_terminating, FREE, Why.NODE_LOST),
    # It is not there.
    Row(lambda c: c.pod is not None, FREE, Why.REPLACED),
    Row(lambda c: True, FREE, Why.GONE),
)


def judge(case: Case) -> Judgement:
    """The verdict on an allocation: that of the first row that fits."""
    row = next(row for row in TABLE if row.fits(case))
    return Judgement(row.verdict, row.why, str(case), row.at(case))
