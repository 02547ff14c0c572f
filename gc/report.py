"""What the collector found, and what became of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from ipledger.gc.claims import Claim
from ipledger.gc.judge import Judgement, Verdict


class Outcome(StrEnum):
    """What became of a zombie."""

    FREED = "freed"
    WOULD_FREE = "would be freed"
    WITHHELD = "withheld"
    SPARED = "spared"
    REFUSED = "refused"
    UNCONFIRMED = "unconfirmed"
    LATER = "later"


class Finding(msgspec.Struct, frozen=True, rename="camel"):
    """An allocation that is, or may soon be, a zombie. Its keys are a contract.

    `evidence` is what was seen of the pod; `detail` says more of the outcome, where there is more.
    """

    allocation: str
    namespace: str
    pod: str
    uid: str
    node: str
    sandbox: str
    interface: str
    addresses: tuple[str, ...]
    reason: str
    evidence: str
    outcome: str
    detail: str = ""


@dataclass(slots=True)
class Report:
    """One look at many allocations.

    `counts` are by verdict and reason, of all that were looked at. `withheld` says why zombies were
    withheld; `failure` why the look was cut short.
    """

    position: str = ""
    pods: int = 0
    counts: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    findings: list[Finding] = field(default_factory=list[Finding])
    applications: list[str] = field(default_factory=list[str])
    withheld: str = ""
    failure: str = ""

    @property
    def total(self) -> int:
        """How many allocations were looked at."""
        return sum(self.counts.values())

    def count(self, judgement: Judgement) -> None:
        """An allocation was judged."""
        self.counts[judgement.verdict, judgement.why] += 1

    def add(self, claim: Claim, judgement: Judgement, outcome: Outcome, detail: str = "") -> None:
        """Something became of an allocation."""
        self.findings.append(
            Finding(
                claim.allocation,
                claim.pod.namespace,
                claim.pod.name,
                claim.pod.uid,
                claim.node,
                claim.sandbox,
                claim.interface,
                claim.addresses,
                judgement.why,
                judgement.evidence,
                outcome,
                detail,
            )
        )

    def outcomes(self, outcome: Outcome) -> int:
        """How many findings ended so."""
        return sum(finding.outcome == outcome for finding in self.findings)

    @property
    def zombies(self) -> int:
        """How many allocations were judged to be zombies at first."""
        return sum(n for (verdict, _), n in self.counts.items() if verdict == Verdict.FREE)
