"""Metrics and spans of the controller and the webhook (the table is engine/metrics/table.py)."""

from __future__ import annotations

from opentelemetry.trace import Span
from prometheus_client import CollectorRegistry

from ipledger.engine.metrics import table
from ipledger.events import tracing
from ipledger.projections.cluster.metadata import Key

CONTROLLER = CollectorRegistry()
WORK = table.CONTROLLER_WORK.counter(CONTROLLER)
WORK_DURATION = table.CONTROLLER_DURATION.histogram(CONTROLLER)

WEBHOOK = CollectorRegistry()
REVIEWS = table.WEBHOOK_REVIEWS.counter(WEBHOOK)
REVIEW_DURATION = table.WEBHOOK_DURATION.histogram(WEBHOOK)

VERDICTS = ("allowed", "unchecked", "denied", "bad")

for _verdict in VERDICTS:
    REVIEWS.labels(_verdict)


def working(kind: str, key: Key) -> Span:
    """The controller begins to work on an object."""
    attributes = {"ipledger.kind": kind, "ipledger.name": str(key)} if tracing.is_on() else None
    return tracing.begin("controller.work", attributes=attributes)


def worked(kind: str, seconds: float, *, done: bool) -> None:
    """The controller has worked on an object."""
    for outcome, happened in (("done", done), ("failed", not done)):
        WORK.labels(kind, outcome).inc(happened)
    WORK_DURATION.labels(kind).observe(seconds)
