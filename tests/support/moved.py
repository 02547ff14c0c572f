"""Which metrics tests have seen move: a metric that nobody sees move may as well stand still.

A test says so by `moved`, and names each metric as `table.NAME`; `seen_moving` reads the tests for
that, so that whoever goes over the whole table knows what is left.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from ipledger.engine.metrics import table
from ipledger.engine.metrics.metric import Kind, Spec

_TESTS = Path(__file__).parents[1]


def moved(before: str, after: str, *specs: Spec) -> bool:
    """Whether each metric has a value in the text `after` that is greater than `before`.

    What is not there yet counts as 0. Of a histogram its count is looked at.
    """
    earlier, later = _values(before), _values(after)
    grown = {key[0] for key, value in later.items() if value > earlier.get(key, 0)}
    return {series(spec) for spec in specs} <= grown


def series(spec: Spec) -> str:
    """The name of the series that tells of a metric's moving."""
    return f"{spec.name}_count" if spec.kind is Kind.HISTOGRAM else spec.name


def _values(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@cache
def seen_moving() -> frozenset[str]:
    """The names of the metrics that a test somewhere calls `moved` with."""
    texts = (path.read_text() for path in _TESTS.rglob("test_*.py"))
    trees = (ast.parse(text) for text in texts if "moved(" in text)
    return frozenset(name for tree in trees for name in _named_in(tree))


def _named_in(tree: ast.AST) -> Iterator[str]:
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "moved":
            told = (argument for argument in call.args if isinstance(argument, ast.Attribute))
            yield from (getattr(table, argument.attr).name for argument in told)
