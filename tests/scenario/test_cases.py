"""The page on Spiderpool's cases says what tables of scenarios and other tests have."""

from __future__ import annotations

import pytest
from support.cases import SECTIONS, covered, gaps, listed, named, present, shown, titles


def test_the_page_lists_the_115_cases_that_concern_ipam() -> None:
    assert len(listed()) == 115


def test_every_id_in_a_title_is_on_the_page() -> None:
    assert covered().keys() <= listed().keys()


@pytest.mark.parametrize(("case", "where"), listed().items())
def test_the_page_names_the_tables_of_a_case_or_says_why_there_is_none(
    case: str, where: str
) -> None:
    tables = covered().get(case, [])
    if tables:
        assert where == ", ".join(f"`{table}`" for table in tables)
    elif elsewhere := [section.lower() for section in SECTIONS if case in shown(section)]:
        assert where == ", ".join(elsewhere)
    else:
        assert where
        assert ".txt" not in where
        assert "cluster's objects" not in where
        assert "on a real" not in where


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_names_tests_that_there_are_with_cases_of_the_page(section: str) -> None:
    rows = named(section)
    assert {test for test, _ in rows} <= present(section)
    assert len({test for test, _ in rows}) == len(rows) > 0
    for test, cases in rows:
        assert cases, test
        assert set(cases) <= listed().keys(), test


def test_the_page_names_scenarios_for_the_eight_gaps() -> None:
    named = gaps()
    assert len(named) == 8
    assert set(named) <= {f"{table}: {title}" for table, title in titles()}
