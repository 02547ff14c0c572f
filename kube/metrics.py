"""Metrics of the controller and the webhook (the table is engine/metrics/table.py)."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from ipledger.engine.metrics import table

CONTROLLER = CollectorRegistry()
WORK = table.CONTROLLER_WORK.counter(CONTROLLER)
WORK_DURATION = table.CONTROLLER_DURATION.histogram(CONTROLLER)

WEBHOOK = CollectorRegistry()
REVIEWS = table.WEBHOOK_REVIEWS.counter(WEBHOOK)
REVIEW_DURATION = table.WEBHOOK_DURATION.histogram(WEBHOOK)

VERDICTS = ("allowed", "unchecked", "denied", "bad")

for _verdict in VERDICTS:
    REVIEWS.labels(_verdict)


def worked(kind: str, seconds: float, *, done: bool) -> None:
    """The controller has worked on an object."""
    for outcome, happened in (("done", done), ("failed", not done)):
        WORK.labels(kind, outcome).inc(happened)
    WORK_DURATION.labels(kind).observe(seconds)
