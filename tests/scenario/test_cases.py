"""The page on Spiderpool's cases and the tables of scenarios say the same."""

from __future__ import annotations

import pytest
from support.cases import covered, gaps, listed, titles


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
    else:
        assert where
        assert ".txt" not in where


def test_the_page_names_scenarios_for_the_eight_gaps() -> None:
    named = gaps()
    assert len(named) == 8
    assert set(named) <= {f"{table}: {title}" for table, title in titles()}
