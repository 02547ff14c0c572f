"""One metric: what it is called and what it means, and how the things that count are made of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from ipledger.engine.metrics.distribution import Distribution


class Kind(StrEnum):
    """The types of Prometheus that are used."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Role(StrEnum):
    """The processes that have metrics. `ipledger up` is engine, agent and controller in one."""

    ENGINE = "engine"
    AGENT = "agent"
    CONTROLLER = "controller"
    WEBHOOK = "webhook"
    AUDITOR = "auditor"


@dataclass(frozen=True, slots=True)
class Spec:
    """A metric, by the `name` that is exposed. Every metric has the label `realm` besides.

    `unit` is what its number counts. Of `labels` every value is one of few, or the name of a
    resource that an administrator made: never a pod or an address.
    """

    name: str
    kind: Kind
    help: str
    unit: str
    roles: tuple[Role, ...]
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    def counter(self, registry: CollectorRegistry) -> Counter:
        """A counter that is counted as things happen."""
        assert self.kind is Kind.COUNTER
        return Counter(self.name, self.help, self.labels, registry=registry)

    def gauge(self, registry: CollectorRegistry) -> Gauge:
        """A gauge that is set as things happen."""
        assert self.kind is Kind.GAUGE
        return Gauge(self.name, self.help, self.labels, registry=registry)

    def histogram(self, registry: CollectorRegistry) -> Histogram:
        """A histogram of what is observed."""
        assert self.kind is Kind.HISTOGRAM
        return Histogram(self.name, self.help, self.labels, buckets=self.buckets, registry=registry)

    def distribution(self) -> Distribution:
        """Where a histogram is counted that has no time for more."""
        return Distribution(self.buckets)

    def family(self, values: Iterable[tuple[Sequence[str], float]]) -> Metric:
        """What was counted elsewhere, as it is at a scrape: values by those of the labels."""
        made = CounterMetricFamily if self.kind is Kind.COUNTER else GaugeMetricFamily
        family = made(self.name, self.help, labels=self.labels)
        for labels, value in values:
            family.add_metric(labels, value)
        return family

    def value(self, value: float) -> Metric:
        """The same for a metric without labels."""
        return self.family([((), value)])

    def distributions(self, found: Iterable[tuple[Sequence[str], Distribution]]) -> Metric:
        """A histogram as it is at a scrape."""
        family = HistogramMetricFamily(self.name, self.help, labels=self.labels)
        for labels, distribution in found:
            family.add_metric(labels, distribution.cumulative(), distribution.sum)
        return family
