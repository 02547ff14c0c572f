"""Alerts and dashboard: what promtool says of them, and that they speak of metrics that are there.

IPLEDGER_UPDATE_SNAPSHOTS=1 writes the dashboard anew.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml
from support.dashboard import FILE, ROWS, dashboard
from support.helm import objects

from ipledger.engine.metrics.metric import Kind
from ipledger.engine.metrics.table import TABLE

ROOT = Path(__file__).parents[2]
FOLDER = FILE.parent
RULES: dict[str, Any] = yaml.safe_load((FOLDER / "rules.yaml").read_text())
ALERTS: list[dict[str, Any]] = [r for group in RULES["groups"] for r in group["rules"]]
_SUFFIXES = {Kind.HISTOGRAM: ("_bucket", "_sum", "_count")}
SERIES = {spec.name + suffix: spec for spec in TABLE for suffix in _SUFFIXES.get(spec.kind, ("",))}
LABELS = {"realm", "le", "instance", "job"}


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *arguments], cwd=FOLDER, capture_output=True, text=True, check=False
    )


def speaks_of(query: str) -> set[str]:
    """The metrics in a query, each checked for the labels it is asked by."""
    found = re.findall(r"(ipledger_\w+)(?:\{([^}]*)\})?", query)
    for name, where in found:
        labels = set(re.findall(r"(\w+)=", where))
        assert labels <= {*SERIES[name].labels, *LABELS}, query
    return {SERIES[name].name for name, _ in found}


def test_promtool_accepts_the_rules() -> None:
    done = promtool("check", "rules", "rules.yaml")
    assert done.returncode == 0, done.stderr


def test_each_alert_fires_by_what_it_is_for_and_no_other_with_it() -> None:
    done = promtool("test", "rules", "rules.test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    tests = yaml.safe_load((FOLDER / "rules.test.yaml").read_text())["tests"]
    fired = {
        name
        for test in tests
        for expected in test.get("promql_expr_test", ())
        for sample in expected["exp_samples"]
        for name in re.findall(r'alertname="(\w+)"', sample["labels"])
    }
    assert fired == {alert["alert"] for alert in ALERTS}


def test_alerts_speak_of_metrics_that_are_in_the_table() -> None:
    for alert in ALERTS:
        assert speaks_of(alert["expr"]) or "up{" in alert["expr"], alert


def test_each_alert_has_a_section_that_says_what_to_do() -> None:
    text = (ROOT / "docs/how-to/runbook.md").read_text()
    sections = dict(re.findall(r"^### (\w+)\n\n(.+?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL))
    assert set(sections) == {alert["alert"] for alert in ALERTS}
    for alert in ALERTS:
        page, _, anchor = alert["annotations"]["runbook"].partition("#")
        assert (ROOT / page).exists()
        assert anchor == alert["alert"].lower()
        assert alert["labels"]["severity"] in ("critical", "warning", "info")


def test_the_dashboard_is_the_one_that_is_written_here() -> None:
    if os.environ.get("IPLEDGER_UPDATE_SNAPSHOTS") == "1":
        FILE.write_text(dashboard())
    assert FILE.read_text() == dashboard()


def test_the_dashboard_shows_every_metric_of_the_table() -> None:
    shown = {
        name
        for row in ROWS.values()
        for p in row
        for query, _ in p.queries
        for name in speaks_of(query)
    }
    assert shown == {spec.name for spec in TABLE}


def test_panels_have_places_of_their_own_and_units_that_fit() -> None:
    found = json.loads(FILE.read_text())
    assert [one["name"] for one in found["templating"]["list"]] == ["datasource", "realm", "pool"]
    panels = found["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    for panel in (p for p in panels if p["type"] != "row"):
        assert panel["title"]
        first = panel["targets"][0]["expr"]
        timed = re.search(r"_seconds(_bucket)?\b", first) and "per_second" not in first
        unit = panel["fieldConfig"]["defaults"]["unit"]
        assert (unit == "s") == bool(timed and "process_cpu" not in first), panel["title"]
        assert (unit == "bytes") == ("_bytes" in first), panel["title"]


def test_the_chart_brings_rules_and_dashboard_where_they_are_asked_for() -> None:
    asked = {"prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}}
    found = {one["metadata"]["name"] + one["kind"]: one for one in objects(asked)}
    assert found["ipledgerPrometheusRule"]["spec"] == RULES
    shown = found["ipledger-dashboardConfigMap"]["data"]["ipledger.json"]
    assert json.loads(shown) == json.loads(FILE.read_text())
    assert not {"PrometheusRule"} & {one["kind"] for one in objects()}
