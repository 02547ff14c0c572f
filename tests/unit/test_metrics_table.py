"""The table of metrics, its page, and the metrics that are made of it.

IPLEDGER_UPDATE_SNAPSHOTS=1 writes the page anew.
"""

from __future__ import annotations

import os
import re
from itertools import pairwise

from support.metrics_page import PAGE, SPIDERPOOL, mapping, written

from ipledger.cni.metrics import REGISTRY as CNI
from ipledger.engine.metrics.metric import Kind
from ipledger.engine.metrics.table import LATENCIES_S, TABLE
from ipledger.gc.metrics import REGISTRY as GC
from ipledger.kube.metrics import CONTROLLER, WEBHOOK

NAMES = {spec.name for spec in TABLE}
BOUNDED = {
    *("role", "version", "connection", "client", "command", "step", "outcome", "reason", "type"),
    *("state", "ip_version", "code", "verdict", "watcher", "resource", "kind"),
    *("pool", "subnet"),  # as many as an administrator has made
}
"""Labels whose values are few. A pod, a node, a sandbox or an address never is."""


def test_names_are_unique_and_say_what_they_count() -> None:
    assert len(NAMES) == len(TABLE)
    for spec in TABLE:
        assert re.fullmatch(r"ipledger_[a-z0-9_]+", spec.name)
        assert (spec.kind is Kind.COUNTER) == spec.name.endswith("_total")
        assert (spec.kind is Kind.HISTOGRAM) == bool(spec.buckets)
        assert spec.help.endswith("."), spec
        assert ("seconds" in spec.name.split("_")) == spec.unit.startswith("seconds") or (
            spec.unit == "addresses per second"
        )


def test_labels_have_few_values() -> None:
    assert {label for spec in TABLE for label in spec.labels} == BOUNDED


def test_latencies_are_told_apart_from_100_microseconds_to_10_seconds() -> None:
    assert (LATENCIES_S[0], LATENCIES_S[-1]) == (0.0001, 10.0)
    ratios = [b / a for a, b in pairwise(LATENCIES_S)]
    assert max(ratios) <= 2.5 + 1e-9
    for spec in TABLE:
        if spec.kind is Kind.HISTOGRAM and spec.unit == "seconds":
            assert spec.buckets[: len(LATENCIES_S)] == LATENCIES_S, spec


def test_what_registries_have_is_in_the_table() -> None:
    for registry in (CNI, GC, CONTROLLER, WEBHOOK):
        for family in registry.collect():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            assert name in NAMES


def test_the_page_has_the_table() -> None:
    page = PAGE.read_text()
    if os.environ.get("IPLEDGER_UPDATE_SNAPSHOTS") == "1":
        PAGE.write_text(written(page))
    assert written(page) == PAGE.read_text()


def test_every_metric_of_spiderpool_has_its_like() -> None:
    found = mapping(PAGE.read_text())
    assert set(found) == set(SPIDERPOOL)
    assert len(SPIDERPOOL) == len(set(SPIDERPOOL))
    for name, ours in found.items():
        assert ours, name
        assert {re.sub(r"_(bucket|sum|count)$", "", one) for one in ours} <= NAMES, name
