"""Spiderpool's own test cases: which of them our tables have, by the ids in their titles.

And which of them the page says that other tests show.
"""

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
OBJECTS, REAL = "Through a cluster's objects", "On a real cluster"
SECTIONS = {OBJECTS: ("integration", "gc"), REAL: ("e2e",)}
"""The sections of the page that name tests, and the folders that have them."""

_TEST = re.compile(r"^(?:async )?def test_(\w+)\(", re.MULTILINE)
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


def named(section: str) -> list[tuple[str, list[str]]]:
    """The tests that a section of the page names, each with its cases; see `spoken`."""
    text = _PAGE.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [(spoken(test), _ID.findall(cases)) for test, cases in _rows(text) if "`" in test]


def present(section: str) -> set[str]:
    """The tests that there are for a section: `MODULE: words`; see `spoken`."""
    folders = [_ROOT / "tests" / name for name in SECTIONS[section]]
    return {
        spoken(f"{module.relative_to(folder)}: {name}")
        for folder in folders
        for module in folder.rglob("test_*.py")
        for name in _TEST.findall(module.read_text())
    }


def spoken(test: str) -> str:
    """A test's name as words in lower case, so that prose and identifier are the same."""
    module, _, name = test.strip("`").partition(": ")
    words = re.sub(r"[^\w\s]", "", name).replace("_", " ").lower()
    return f"{module}: {words}"


def shown(section: str) -> set[str]:
    """The cases that a section names."""
    return {case for _, cases in named(section) for case in cases}


def summary() -> str:
    """The line for the end of a test run."""
    every = listed().keys()
    parts = {"covered by scenarios": every & covered().keys()}
    parts |= {section.lower(): every & shown(section) for section in SECTIONS}
    told = ", ".join(f"{len(cases)} {what}" for what, cases in parts.items())
    in_all = {case for cases in parts.values() for case in cases}
    return f"Spiderpool cases: of {len(every)} ids {told}; {len(in_all)} in all"


def _rows(text: str = "") -> Iterator[list[str]]:
    for line in (text or _PAGE.read_text()).splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]
