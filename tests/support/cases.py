"""Spiderpool's own test cases: which of them our tables have, by the ids in their titles."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from support.judging import JUDGE_TABLE, judge_rows
from support.scenario import read_table

_ROOT = Path(__file__).parents[2]
_PAGE = _ROOT / "docs" / "reference" / "spiderpool-cases.md"
_TABLES = sorted((_ROOT / "tests" / "scenario").glob("*.txt"))
_MODULES = sorted((_ROOT / "tests" / "integration").glob("test_*.py"))
_ID = re.compile(r"\b[A-Z]\d{5}\b")


def listed() -> dict[str, str]:
    """The cases of the page, and what it says of where each is covered."""
    return {cells[0]: cells[-1] for cells in _rows() if _ID.fullmatch(cells[0])}


def gaps() -> list[str]:
    """What the page names as covered of the gaps in Spiderpool's suite: `TABLE: TITLE`."""
    return [cells[-1].strip("`") for cells in _rows() if cells[-1].count(".txt: ")]


def covered() -> dict[str, list[str]]:
    """The names of the tables in which each id stands in a title."""
    found: dict[str, list[str]] = {}
    for table, title in titles():
        for case in _ID.findall(title):
            if table not in found.setdefault(case, []):
                found[case].append(table)
    return found


def titles() -> Iterator[tuple[str, str]]:
    """Every scenario, every row of the judge's table: the name of the table, and the title.

    Where a suite of real programs is what shows a case, what its module says of itself.
    """
    for table in _TABLES:
        for scenario in read_table(table):
            yield table.name, scenario.title
    for row in judge_rows():
        yield JUDGE_TABLE.name, row.title
    for module in _MODULES:
        yield module.name, module.read_text().split('"""')[1]


def summary() -> str:
    """The line for the end of a test run."""
    cases = listed()
    return f"Spiderpool cases: {len(cases.keys() & covered())} of {len(cases)} ids covered"


def _rows() -> Iterator[list[str]]:
    for line in _PAGE.read_text().splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]
