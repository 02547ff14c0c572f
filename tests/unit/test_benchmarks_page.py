"""The page of the reference run is what the benchmarks' results say."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "bench"


def test_the_page_is_made_from_the_reference_results() -> None:
    """Whoever records a new reference run makes the page anew, too."""
    made = subprocess.run(
        [sys.executable, "page.py", "results/reference.json"],
        cwd=BENCH,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (ROOT / "docs/reference/benchmarks.md").read_text() == made.stdout


def test_what_the_benchmark_of_tracing_cuts_out_is_where_it_looks_for_it(tmp_path: Path) -> None:
    subprocess.run(
        [
            sys.executable,
            "-c",
            f"import tracing; tracing.untraced(tracing.Path({str(tmp_path)!r}))",
        ],
        cwd=BENCH,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        check=True,
    )


def test_every_benchmark_is_run_by_make_bench() -> None:
    """What makes a table is in `run.ALL`."""
    tree = ast.parse((BENCH / "run.py").read_text())
    (listed,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ALL"
    )
    measuring = {path.stem for path in BENCH.glob("*.py") if " report(" in path.read_text()}
    assert set(listed) == measuring - {"harness"}
