"""docs/reference/metrics.md: what of it is written from the table, and what it maps."""

from __future__ import annotations

import re
from pathlib import Path

from ipledger.engine.metrics.metric import Role, Spec
from ipledger.engine.metrics.table import TABLE

PAGE = Path(__file__).parents[2] / "docs/reference/metrics.md"
_BEGIN, _END = "<!-- written from engine/metrics/table.py -->", "<!-- end -->"

SPIDERPOOL = (
    *(
        f"ipam_{verb}_{what}"
        for verb in ("allocation", "release")
        for what in (
            "counts",
            "failure_counts",
            "update_ippool_conflict_counts",
            "err_internal_counts",
            "err_retries_exhausted_counts",
            *(
                f"{which}{limit}_duration_seconds"
                for limit in ("", "_limit")
                for which in ("average", "max", "min", "latest")
            ),
            "duration_seconds",
            "limit_duration_seconds",
        )
    ),
    "ipam_allocation_err_no_available_pool_counts",
    "ipam_allocation_err_ip_used_out_counts",
    "ip_gc_counts",
    "ip_gc_failure_counts",
    "total_ippool_counts",
    "debug_ippool_total_ip_counts",
    "debug_ippool_available_ip_counts",
    "total_subnet_counts",
    "debug_subnet_ippool_counts",
    "debug_subnet_total_ip_counts",
    "debug_subnet_available_ip_counts",
    "debug_auto_pool_waited_for_available_counts",
)
"""Spiderpool's metrics of IPAM, without their prefix, as its reference page lists them."""


def written(page: str) -> str:
    """The page with its first part written anew."""
    head, rest = page.split(_BEGIN)
    return f"{head}{_BEGIN}\n\n{_tables()}\n{_END}{rest.split(_END)[1]}"


def _tables() -> str:
    parts: list[str] = []
    done: list[Spec] = []
    for roles in dict.fromkeys(spec.roles for spec in TABLE):
        found = [spec for spec in TABLE if spec.roles == roles]
        done += found
        parts += [f"### {_title(roles)}", "", *_rows(found), ""]
    assert len(done) == len(TABLE)
    return "\n".join(parts)


def _title(roles: tuple[Role, ...]) -> str:
    return "Every process" if roles == tuple(Role) else ", ".join(roles).capitalize()


def _rows(specs: list[Spec]) -> list[str]:
    head = ["| metric | type | unit | labels | meaning |", "|---|---|---|---|---|"]
    return head + [
        f"| `{s.name}` | {s.kind} | {s.unit} | {', '.join(f'`{x}`' for x in s.labels)} | {s.help} |"
        for s in specs
    ]


def mapping(page: str) -> dict[str, set[str]]:
    """Spiderpool's metrics with those that the page names for them."""
    rows = re.findall(r"^\| `spiderpool_(\S+)` \| (.*) \|$", page, re.MULTILINE)
    return {name: set(re.findall(r"ipledger_\w+", text)) for name, text in rows}
