"""Metrics of the collector (the table is engine/metrics/table.py)."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from ipledger.engine.metrics import table
from ipledger.engine.refusals import Reason
from ipledger.gc.judge import TABLE, Verdict

REGISTRY = CollectorRegistry()

FREED = table.GC_FREED.counter(REGISTRY)
SPARED = table.GC_SPARED.counter(REGISTRY)
REFUSED = table.GC_REFUSED.counter(REGISTRY)
WITHHELD = table.GC_WITHHELD.gauge(REGISTRY)
ALLOCATIONS = table.GC_ALLOCATIONS.gauge(REGISTRY)
API_FAILURES = table.GC_API_FAILURES.counter(REGISTRY)
APPLICATIONS_DELETED = table.GC_APPLICATIONS_DELETED.counter(REGISTRY)
COMPARISONS = table.GC_COMPARISONS.counter(REGISTRY)
COMPARED = table.GC_COMPARED.gauge(REGISTRY)
COMPARISON_DURATION = table.GC_COMPARISON_DURATION.histogram(REGISTRY)

# A series that begins at its first increase has none that `increase` could see.
for _row in TABLE:
    (FREED if _row.verdict is Verdict.FREE else SPARED).labels(_row.why)
for _reason in (
    Reason.POD_CHANGED,
    Reason.SANDBOX_CHANGED,
    Reason.PLACE_EXISTS,
    Reason.ALLOCATION_UNKNOWN,
):
    REFUSED.labels(_reason)
for _outcome in ("done", "cut-short", "engine-unavailable"):
    COMPARISONS.labels(_outcome)
