"""Results as a page: `python page.py RESULTS.json` prints Markdown.

`docs/performance.md` holds what this makes of `results/reference.json`, between two markers; with
`--into FILE` that part of a file is written anew.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

BEGIN = "<!-- made by bench/page.py from bench/results/reference.json -->"
END = "<!-- end -->"


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


def section(name: str, kept: dict[str, Any]) -> list[str]:
    """A benchmark: its table, then its curves."""
    lines = [f"### {kept['title']}", "", f"`bench/{name}.py`", ""]
    lines += table(kept["columns"], kept["rows"])
    for curve in kept["plots"]:
        lines += ["", *plot(curve)]
    return lines


def page(results: dict[str, Any]) -> str:
    """All results of a run."""
    where = "; ".join(f"{key}: {value}" for key, value in results["machine"].items())
    lines = [where]
    for name, kept in results["tables"].items():
        lines += ["", *section(name, kept)]
    return "\n".join(lines) + "\n"


def into(path: Path, made: str) -> None:
    """Write the part between the markers anew."""
    pattern = re.escape(BEGIN) + ".*?" + re.escape(END)
    text, count = re.subn(
        pattern, lambda _: f"{BEGIN}\n\n{made}\n{END}", path.read_text(), flags=re.DOTALL
    )
    assert count == 1, f"{path} has no place for it"
    path.write_text(text)


def main(arguments: list[str]) -> int:
    """Print, or write into a file."""
    made = page(json.loads(Path(arguments[0]).read_text()))
    if arguments[1:2] == ["--into"]:
        into(Path(arguments[2]), made)
    else:
        print(made, end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
