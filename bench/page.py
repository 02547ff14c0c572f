"""Results as a page: `python page.py RESULTS.json` prints Markdown.

`docs/reference/benchmarks.md` is what this makes of `results/reference.json`; a test compares.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def cell(text: str) -> str:
    """A cell's text, with what Markdown would take for a border."""
    return text.replace("|", "\\|")


def table(columns: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return ["| " + " | ".join(cell(text) for text in line) + " |" for line in lines]


def plot(kept: dict[str, Any]) -> list[str]:
    """A curve as Mermaid's chart, from zero, so that flat looks flat."""
    labels = ", ".join(json.dumps(label) for label in kept["labels"])
    values = ", ".join(f"{value:g}" for value in kept["values"])
    top = max(kept["values"]) * 1.5
    return [
        "```mermaid",
        "xychart-beta",
        f"    title {json.dumps(kept['title'])}",
        f"    x-axis {json.dumps(kept['axis'])} [{labels}]",
        f'    y-axis "µs" 0 --> {top:.0f}',
        f"    line [{values}]",
        "```",
    ]


def section(kept: dict[str, Any]) -> list[str]:
    """A benchmark: its table, then its curves."""
    lines = [f"## {kept['title']}", "", f"`bench/{kept['script']}`", ""]
    lines += table(kept["columns"], kept["rows"])
    for curve in kept["plots"]:
        lines += ["", *plot(curve)]
    return lines


def page(results: dict[str, Any]) -> str:
    """All results of a run."""
    where = "; ".join(f"{key}: {value}" for key, value in results["machine"].items())
    lines = [
        "# Benchmarks: the reference run",
        "",
        "What `make bench` prints, made into a page.",
        "",
        where,
    ]
    for kept in results["tables"].values():
        lines += ["", *section(kept)]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Print."""
    print(page(json.loads(Path(arguments[0]).read_text())), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
