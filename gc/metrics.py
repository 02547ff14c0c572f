"""Metrics of the collector, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

FREED = Counter(
    "ipledger_gc_freed",
    "Allocations that the collector freed, by the reason of the verdict.",
    ("reason",),
    registry=REGISTRY,
)
SPARED = Counter(
    "ipledger_gc_spared",
    "Allocations that a direct read saved from being freed, by what it told.",
    ("reason",),
    registry=REGISTRY,
)
REFUSED = Counter(
    "ipledger_gc_refused",
    "Releases that the engine refused, by its reason.",
    ("reason",),
    registry=REGISTRY,
)
WITHHELD = Gauge(
    "ipledger_gc_withheld",
    "Zombies that wait for a second look, at the last full comparison.",
    registry=REGISTRY,
)
ALLOCATIONS = Gauge(
    "ipledger_gc_allocations",
    "Allocations at the last full comparison, by verdict and reason.",
    ("verdict", "reason"),
    registry=REGISTRY,
)
API_FAILURES = Counter(
    "ipledger_gc_api_failures",
    "Reads of the API server that failed; nothing is freed for want of them.",
    registry=REGISTRY,
)
APPLICATIONS_DELETED = Counter(
    "ipledger_gc_applications_deleted",
    "Applications that the log knew and the cluster did not.",
    registry=REGISTRY,
)
COMPARISONS = Counter(
    "ipledger_gc_comparisons",
    "Full comparisons, by how they ended: done, or why not.",
    ("outcome",),
    registry=REGISTRY,
)
COMPARISON_DURATION = Histogram(
    "ipledger_gc_comparison_duration_seconds",
    "Time of a full comparison.",
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300),
    registry=REGISTRY,
)
