"""The metrics of a client of the engine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client.core import Metric

from ipledger.engine.client import EngineClient
from ipledger.engine.metrics import table


@dataclass(frozen=True, slots=True)
class ClientMetrics:
    """What `client`, called `name`, counted."""

    client: EngineClient
    name: str

    def collect(self) -> Iterable[Metric]:
        """The metrics as they are."""
        name, counts = self.name, self.client.counts
        yield table.CLIENT_REQUESTS.family(
            [
                ((name, "answered"), counts.answered),
                ((name, "unavailable"), counts.unavailable),
            ]
        )
        yield table.CLIENT_RETRIES.family([((name,), counts.retries)])
