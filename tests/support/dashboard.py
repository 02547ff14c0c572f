"""The Grafana dashboard, written from a list of panels (deploy/chart/ipledger/monitoring)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[2] / "deploy/chart/ipledger/monitoring/dashboard.json"

_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH, _HEIGHT, _GRID = 8, 8, 24
_R = 'realm=~"$realm"'
_P = f'{_R},pool=~"$pool"'


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: queries with their legends. `unit` is one of Grafana's."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"


def _quantiles(metric: str, where: str, by: str = "") -> tuple[tuple[str, str], ...]:
    legend = f"{{{{{by}}}}} " if by else ""
    labels = f"le, {by}" if by else "le"
    rate = f"sum by ({labels}) (rate({metric}_bucket{{{where}}}[$__rate_interval]))"
    return tuple(
        (f"histogram_quantile({q}, {rate})", f"{legend}p{int(q * 100)}") for q in (0.5, 0.99)
    )


def _rate(metric: str, where: str, by: str) -> tuple[tuple[str, str], ...]:
    query = f"sum by ({by}) (rate({metric}{{{where}}}[$__rate_interval]))"
    return ((query, " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))),)


def _worst(metric: str, by: str, where: str = _R) -> tuple[tuple[str, str], ...]:
    legend = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))
    return ((f"max by ({by}) ({metric}{{{where}}})", legend),)


ROWS: dict[str, tuple[Panel, ...]] = {
    "Pools": (
        Panel(
            "Free addresses",
            "short",
            _worst("ipledger_pool_addresses", "pool, ip_version", f'{_P},state="free"'),
        ),
        Panel(
            "Addresses by state",
            "short",
            (
                (
                    f"sum by (state) (max by (realm, pool, ip_version, state) (ipledger_pool_addresses{{{_P}}}))",
                    "{{state}}",
                ),
            ),
        ),
        Panel(
            "Time until full, at the recent rate",
            "s",
            (
                (
                    f"max by (pool, ip_version) (ipledger_pool_exhaustion_seconds{{{_P}}})",
                    "{{pool}} v{{ip_version}}",
                ),
            ),
        ),
        Panel(
            "Growth an hour",
            "short",
            (
                (
                    f"max by (pool, ip_version) (ipledger_pool_growth_addresses_per_second{{{_P}}}) * 3600",
                    "{{pool}} v{{ip_version}}",
                ),
            ),
        ),
        Panel(
            "Free in subnets, and their pools",
            "short",
            (
                *_worst("ipledger_subnet_addresses", "subnet, ip_version", f'{_R},state="free"'),
                (f"max by (subnet) (ipledger_subnet_pools{{{_R}}})", "{{subnet}} pools"),
            ),
        ),
        Panel(
            "Pools, subnets, reservations, applications",
            "short",
            (
                (f"sum(max by (realm, ip_version) (ipledger_pools{{{_R}}}))", "pools"),
                (f"sum(max by (realm, ip_version) (ipledger_subnets{{{_R}}}))", "subnets"),
                (f"sum(max by (realm) (ipledger_reservations{{{_R}}}))", "reservations"),
                (f"sum(max by (realm) (ipledger_applications{{{_R}}}))", "applications"),
            ),
        ),
    ),
    "Allocations": (
        Panel("Live allocations", "short", _worst("ipledger_live_allocations", "realm")),
        Panel(
            "Allocations and releases",
            "ops",
            (
                (
                    f"max by (realm) (rate(ipledger_allocations_total{{{_R}}}[$__rate_interval]))",
                    "{{realm}} allocated",
                ),
                (
                    f"max by (realm) (rate(ipledger_releases_total{{{_R}}}[$__rate_interval]))",
                    "{{realm}} released",
                ),
            ),
        ),
        Panel("Refusals by reason", "ops", _rate("ipledger_engine_refusals_total", _R, "reason")),
        Panel("CNI calls", "ops", _rate("ipledger_cni_requests_total", _R, "command, code")),
        Panel(
            "ADD at the agent",
            "s",
            _quantiles("ipledger_cni_request_duration_seconds", f'{_R},command="ADD"'),
        ),
        Panel(
            "DEL at the agent",
            "s",
            _quantiles("ipledger_cni_request_duration_seconds", f'{_R},command="DEL"'),
        ),
        Panel(
            "An allocation in the engine, by step",
            "s",
            _quantiles("ipledger_engine_step_duration_seconds", f'{_R},command="allocate"', "step"),
        ),
        Panel(
            "A release in the engine, by step",
            "s",
            _quantiles("ipledger_engine_step_duration_seconds", f'{_R},command="release"', "step"),
        ),
        Panel(
            "Requests by outcome",
            "ops",
            _rate("ipledger_engine_requests_total", _R, "command, outcome"),
        ),
    ),
    "The log": (
        Panel(
            "Commits and events",
            "ops",
            (
                (
                    f"max by (realm) (rate(ipledger_commits_total{{{_R}}}[$__rate_interval]))",
                    "{{realm}} commits",
                ),
                (
                    f"max by (realm) (rate(ipledger_events_total{{{_R}}}[$__rate_interval]))",
                    "{{realm}} events",
                ),
            ),
        ),
        Panel("Commit", "s", _quantiles("ipledger_engine_commit_duration_seconds", _R)),
        Panel("Events of a commit", "short", _quantiles("ipledger_engine_commit_events", _R)),
        Panel("Size of a commit", "bytes", _quantiles("ipledger_engine_commit_size_bytes", _R)),
        Panel("Events decided, by type", "ops", _rate("ipledger_engine_events_total", _R, "type")),
        Panel(
            "Since the newest commit",
            "s",
            (
                (
                    f"time() - max by (realm) (ipledger_last_commit_timestamp_seconds{{{_R}}})",
                    "{{realm}}",
                ),
            ),
        ),
    ),
    "Engines": (
        Panel(
            "Leader", "short", ((f'ipledger_engine_role{{{_R},role="leader"}}', "{{instance}}"),)
        ),
        Panel("Epoch", "short", _worst("ipledger_epoch", "realm")),
        Panel(
            "Queue",
            "short",
            (
                (f"ipledger_engine_queue_length{{{_R}}}", "{{instance}}"),
                (f"max(ipledger_engine_queue_limit{{{_R}}})", "limit"),
                (
                    f"sum(rate(ipledger_engine_queue_rejections_total{{{_R}}}[$__rate_interval]))",
                    "turned away a second",
                ),
            ),
        ),
        Panel(
            "Commits behind",
            "short",
            (
                (f"ipledger_engine_projection_lag_commits{{{_R}}}", "{{instance}} state"),
                (f"ipledger_engine_second_copy_lag_commits{{{_R}}}", "{{instance}} copy"),
                (
                    f"scalar(max(ipledger_commits_total{{{_R}}})) - ipledger_controller_folded_commits{{{_R}}}",
                    "{{instance}} controller",
                ),
                (f"ipledger_history_lag_commits{{{_R}}}", "{{instance}} history"),
            ),
        ),
        Panel(
            "Snapshots",
            "short",
            (
                (
                    f"increase(ipledger_engine_snapshots_total{{{_R}}}[1h])",
                    "{{instance}} {{outcome}}",
                ),
            ),
        ),
        Panel(
            "Commits since snapshot, copy and checkpoint",
            "short",
            (
                (
                    f"scalar(max(ipledger_commits_total{{{_R}}})) - max(ipledger_engine_snapshot_commits{{{_R}}})",
                    "snapshot",
                ),
                (
                    f"scalar(max(ipledger_commits_total{{{_R}}})) - max(ipledger_engine_second_copy_commits{{{_R}}})",
                    "best copy",
                ),
                (
                    f"scalar(max(ipledger_commits_total{{{_R}}})) - max(ipledger_checkpoint_commits{{{_R}}})",
                    "checkpoint",
                ),
            ),
        ),
        Panel("Memory", "bytes", ((f"process_resident_memory_bytes{{{_R}}}", "{{instance}}"),)),
        Panel(
            "Processors",
            "short",
            ((f"rate(process_cpu_seconds_total{{{_R}}}[$__rate_interval])", "{{instance}}"),),
        ),
        Panel(
            "Connections to NATS",
            "short",
            (
                (
                    f"min by (connection) (ipledger_nats_connected{{{_R}}})",
                    "{{connection}} connected",
                ),
                (
                    f"sum by (connection) (increase(ipledger_nats_reconnects_total{{{_R}}}[1h]))",
                    "{{connection}} made again in 1h",
                ),
            ),
        ),
    ),
    "Nodes and cluster": (
        Panel("Probed addresses", "ops", _rate("ipledger_probes_total", _R, "outcome")),
        Panel("Time of a probe", "s", _quantiles("ipledger_probe_duration_seconds", _R)),
        Panel(
            "Releases that wait on nodes",
            "short",
            (
                (f"sum by (realm) (ipledger_agent_outbox_releases{{{_R}}})", "{{realm}}"),
                (
                    f"sum by (outcome) (rate(ipledger_agent_outbox_sent_total{{{_R}}}[$__rate_interval]))",
                    "{{outcome}} a second",
                ),
            ),
        ),
        Panel(
            "Requests to the engine",
            "ops",
            _rate("ipledger_client_requests_total", _R, "client, outcome"),
        ),
        Panel("Retries", "ops", _rate("ipledger_client_retries_total", _R, "client")),
        Panel(
            "Watches: since the last event",
            "s",
            (
                (
                    f"time() - min by (watcher, resource) (ipledger_watch_last_event_timestamp_seconds{{{_R}}} > 0)",
                    "{{watcher}} {{resource}}",
                ),
            ),
        ),
        Panel(
            "Watches: events", "ops", _rate("ipledger_watch_events_total", _R, "watcher, resource")
        ),
        Panel(
            "Watches: lists, restarts and failures in 1h",
            "short",
            tuple(
                (
                    f"sum by (watcher) (increase(ipledger_watch_{what}_total{{{_R}}}[1h]))",
                    f"{{{{watcher}}}} {what}",
                )
                for what in ("lists", "restarts", "failures")
            ),
        ),
        Panel(
            "Watches: objects, and whether synced",
            "short",
            (
                (
                    f"sum by (watcher, resource) (ipledger_watch_objects{{{_R}}})",
                    "{{watcher}} {{resource}}",
                ),
                (f"min by (watcher) (ipledger_watch_synced{{{_R}}})", "{{watcher}} synced"),
            ),
        ),
        Panel(
            "Controller: queue",
            "short",
            ((f"ipledger_controller_queue_length{{{_R}}}", "{{instance}}"),),
        ),
        Panel(
            "Controller: work", "ops", _rate("ipledger_controller_work_total", _R, "kind, outcome")
        ),
        Panel(
            "Controller: time of work",
            "s",
            _quantiles("ipledger_controller_work_duration_seconds", _R, "kind"),
        ),
        Panel("Reviews", "ops", _rate("ipledger_webhook_reviews_total", _R, "verdict")),
        Panel("Time of a review", "s", _quantiles("ipledger_webhook_review_duration_seconds", _R)),
    ),
    "Collector": (
        Panel(
            "Freed, by reason",
            "short",
            ((f"sum by (reason) (increase(ipledger_gc_freed_total{{{_R}}}[1h]))", "{{reason}}"),),
        ),
        Panel(
            "Spared, refused, failed reads, in 1h",
            "short",
            (
                (f"sum(increase(ipledger_gc_spared_total{{{_R}}}[1h]))", "spared"),
                (f"sum(increase(ipledger_gc_refused_total{{{_R}}}[1h]))", "refused"),
                (f"sum(increase(ipledger_gc_api_failures_total{{{_R}}}[1h]))", "failed reads"),
                (
                    f"sum(increase(ipledger_gc_applications_deleted_total{{{_R}}}[1h]))",
                    "applications",
                ),
            ),
        ),
        Panel("Withheld", "short", _worst("ipledger_gc_withheld", "realm")),
        Panel(
            "Allocations by verdict", "short", _worst("ipledger_gc_allocations", "verdict, reason")
        ),
        Panel(
            "Since the last full comparison",
            "s",
            (
                (
                    f"time() - max by (realm) (ipledger_gc_last_comparison_timestamp_seconds{{{_R}}})",
                    "{{realm}}",
                ),
            ),
        ),
        Panel(
            "Full comparisons",
            "s",
            (
                *_quantiles("ipledger_gc_comparison_duration_seconds", _R),
                (
                    f"sum by (outcome) (increase(ipledger_gc_comparisons_total{{{_R}}}[1h]))",
                    "{{outcome}} in 1h",
                ),
            ),
        ),
    ),
    "History and versions": (
        Panel("History: lag", "s", ((f"ipledger_history_lag_seconds{{{_R}}}", "{{instance}}"),)),
        Panel(
            "History: commits", "short", ((f"ipledger_history_sequence{{{_R}}}", "{{instance}}"),)
        ),
        Panel(
            "Versions",
            "short",
            ((f"count by (role, version) (ipledger_build_info{{{_R}}})", "{{role}} {{version}}"),),
        ),
    ),
}


def dashboard() -> str:
    """The dashboard as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS.items():
        panels.append(_row(title, y, len(panels)))
        y += 1
        for place, panel in enumerate(row):
            column, line = place % (_GRID // _WIDTH), place // (_GRID // _WIDTH)
            panels.append(_panel(panel, column * _WIDTH, y + line * _HEIGHT, len(panels)))
        y += -(-len(row) // (_GRID // _WIDTH)) * _HEIGHT
    return json.dumps(_document(panels), indent=1) + "\n"


def _document(panels: list[dict[str, Any]]) -> dict[str, Any]:
    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Source"}
    return {
        "uid": "ipledger",
        "title": "ipledger",
        "tags": ["ipledger", "ipam"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "utc",
        "templating": {
            "list": [
                source,
                _variable("realm", "label_values(ipledger_build_info, realm)"),
                _variable("pool", f"label_values(ipledger_pool_addresses{{{_R}}}, pool)"),
            ]
        },
        "panels": panels,
    }


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "sort": 1,
    }


def _row(title: str, y: int, number: int) -> dict[str, Any]:
    place = {"x": 0, "y": y, "w": _GRID, "h": 1}
    return {
        "id": number + 1,
        "type": "row",
        "title": title,
        "collapsed": False,
        "gridPos": place,
        "panels": [],
    }


def _panel(panel: Panel, x: int, y: int, number: int) -> dict[str, Any]:
    targets = [
        {
            "refId": chr(ord("A") + index),
            "expr": expr,
            "legendFormat": legend,
            "datasource": _SOURCE,
        }
        for index, (expr, legend) in enumerate(panel.queries)
    ]
    return {
        "id": number + 1,
        "type": panel.kind,
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": {"x": x, "y": y, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}},
        "targets": targets,
    }
