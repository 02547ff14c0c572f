"""Metrics of the CNI path, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

REGISTRY = CollectorRegistry()

REQUESTS = Counter(
    "ipledger_cni_requests",
    "CNI calls answered, by command and CNI error code (0 is success).",
    ("command", "code"),
    registry=REGISTRY,
)
DURATION = Histogram(
    "ipledger_cni_request_duration_seconds",
    "Time from a CNI call's arrival at the agent to its answer.",
    ("command",),
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60),
    registry=REGISTRY,
)
