"""The metrics of watches of a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.core import Metric

from ipledger.engine.metrics import table
from ipledger.projections.cluster.watch_counts import WatchCounts


@dataclass(frozen=True, slots=True)
class WatchMetrics:
    """What the watches of `watcher` counted, by their resources; more may come."""

    watcher: str
    watches: Mapping[str, WatchCounts]

    def collect(self) -> Iterable[Metric]:
        """The metrics as they are."""
        found = [((self.watcher, name), counts) for name, counts in self.watches.items()]
        yield table.WATCH_SYNCED.family((name, c.is_synced) for name, c in found)
        yield table.WATCH_OBJECTS.family((name, c.objects) for name, c in found)
        yield table.WATCH_LISTS.family((name, c.lists) for name, c in found)
        yield table.WATCH_RESTARTS.family((name, c.restarts) for name, c in found)
        yield table.WATCH_FAILURES.family((name, c.failures) for name, c in found)
        yield table.WATCH_EVENTS.family((name, c.events) for name, c in found)
        yield table.WATCH_HEARD.family((name, c.heard_at) for name, c in found)
