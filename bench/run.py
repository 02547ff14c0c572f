"""Run all benchmarks, or those named, one after another; then write the page of their results.

    python run.py [NAME…]

One that fails does not keep the others from running; the exit code tells.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from harness import results_file
from page import page

ALL = (
    "decide",
    "ledger",
    "million",
    "engine",
    "add",
    "agent",
    "soak",
    "storm",
    "failover",
    "cluster",
    "collector",
    "agents",
    "history",
    "importing",
    "controller",
    "webhook",
    "overload",
    "tracing",
)


def run(name: str) -> bool:
    """One benchmark in a process of its own."""
    print(f"== {name}", file=sys.stderr, flush=True)
    started = time.monotonic()
    code = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(f"{name}.py"))], check=False
    ).returncode
    said = "done" if code == 0 else f"failed, exit {code},"
    print(f"== {name}: {said} in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return code == 0


def main(names: list[str]) -> int:
    """Run, and write the page beside the results."""
    unknown = sorted(set(names) - set(ALL))
    if unknown:
        print(
            f"no such benchmark: {', '.join(unknown)}; there are {', '.join(ALL)}", file=sys.stderr
        )
        return 2
    failed = [name for name in names or ALL if not run(name)]
    results = results_file()
    results.with_suffix(".md").write_text(page(json.loads(results.read_text())))
    print(f"results in {results} and {results.with_suffix('.md')}", file=sys.stderr)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
