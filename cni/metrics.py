"""Metrics of the CNI path, for Prometheus (the table is engine/metrics/table.py)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from ipledger.cni.outbox import Outbox, StoreError
from ipledger.cni.request import COMMANDS
from ipledger.engine.metrics import table

REGISTRY = CollectorRegistry()

REQUESTS = table.CNI_REQUESTS.counter(REGISTRY)
DURATION = table.CNI_DURATION.histogram(REGISTRY)

PROBES = table.PROBES.counter(REGISTRY)
PROBE_DURATION = table.PROBE_DURATION.histogram(REGISTRY)

for _outcome in ("free", "conflict", "proxied", "failed"):
    PROBES.labels(_outcome)
for _command in COMMANDS:  # from zero on, so that the first call is an increase
    REQUESTS.labels(_command, 0)
    DURATION.labels(_command)


@dataclass(slots=True)
class OutboxMetrics:
    """How an outbox is. `refresh` first, then `collect`."""

    outbox: Outbox
    _waiting: int = field(default=0, init=False)

    async def refresh(self) -> None:
        """Count what waits; a store that cannot be read just now has what it had."""
        with contextlib.suppress(StoreError):
            self._waiting = await self.outbox.store.count()

    def collect(self) -> Iterable[Metric]:
        """The metrics as they are."""
        yield table.OUTBOX.value(self._waiting)
        sent = [(("done",), self.outbox.sent), (("refused",), self.outbox.dropped)]
        yield table.OUTBOX_SENT.family(sent)
