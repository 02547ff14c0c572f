"""Helm's own engine, without the `helm` program: what the chart renders, and what lint says.

`python -m support.helm` is the part that loads Helm's library; it runs in a process of its own,
since the library brings Go's runtime with it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "deploy/chart/ipledger"


class HelmError(Exception):
    """Helm refused the values or the templates; its own words."""


def render(values: dict[str, Any] | None = None, **release: str) -> dict[str, str]:
    """The text that each template renders to, by its file's name."""
    release = {"name": "ipledger", "namespace": "ipledger"} | release
    rendered: dict[str, str] = _ask("render", json.dumps(values or {}), json.dumps(release))
    return {Path(path).name: text for path, text in rendered.items()}


def objects(values: dict[str, Any] | None = None, **release: str) -> list[dict[str, Any]]:
    """The objects of all templates."""
    texts = render(values, **release)
    return [
        document
        for name, text in texts.items()
        if name.endswith(".yaml")
        for document in yaml.safe_load_all(text)
        if document
    ]


def lint() -> list[str]:
    """What `helm lint` finds, warnings and errors."""
    report = _ask("lint")
    worse_than_info = 2
    return [m["error"] for m in report["messages"] if m["severity"] >= worse_than_info]


@cache
def _ask(what: str, values: str = "{}", release: str = "{}") -> Any:
    done = subprocess.run(
        [sys.executable, __file__, what, values, release],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise HelmError(done.stderr)
    return json.loads(done.stdout)


def _answer(what: str, values: str, release: str) -> None:
    import helm_python

    if what == "lint":
        answer: Any = helm_python.lint(str(CHART))
    else:
        with helm_python.Chart.load(str(CHART)) as chart:
            chart.validate_schema(json.loads(values))
            answer = chart.render(json.loads(values), **json.loads(release))
    print(json.dumps(answer))


if __name__ == "__main__":
    _answer(*sys.argv[1:])
