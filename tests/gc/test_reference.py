"""The reference page names every reason, setting, outcome and metric that there is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ipledger.cli.gc_settings import CollectorFlags
from ipledger.gc.judge import TABLE
from ipledger.gc.report import Outcome
from ipledger.gc.settings import DEFAULT

PAGE = (Path(__file__).parents[2] / "docs/reference/collector.md").read_text()


@pytest.mark.parametrize("number", range(len(TABLE)))
def test_the_rows_of_the_table_are_on_the_page_in_their_order(number: int) -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    judged = [row for row in rows if row.split(" | ")[1:2] in (["keep"], ["free"], ["look again"])]
    verdict = {"again": "look again"}.get(TABLE[number].verdict, TABLE[number].verdict)
    assert judged[number].endswith(f"| {verdict} | `{TABLE[number].why}` |")
    assert len(judged) == len(TABLE)


@pytest.mark.parametrize("field", dataclasses.fields(CollectorFlags), ids=lambda field: field.name)
def test_each_flag_is_on_the_page_with_its_variable_and_default(
    field: dataclasses.Field[object],
) -> None:
    flag, variable = f"--{field.name.replace('_', '-')}", f"IPLEDGER_GC_{field.name.upper()}"
    [row] = [line for line in PAGE.splitlines() if line.startswith(f"| `{flag}` |")]
    assert f"`{variable}`" in row
    default = str(field.default).lower().removesuffix(".0")
    assert f" {default} " in row


def test_flags_that_are_not_given_are_the_defaults_of_the_settings() -> None:
    assert CollectorFlags().settings() == DEFAULT


def test_the_interval_is_what_was_asked_for() -> None:
    assert CollectorFlags(interval=5.0).settings().interval_s == 5.0


@pytest.mark.parametrize("outcome", Outcome)
def test_each_outcome_is_on_the_page(outcome: Outcome) -> None:
    assert f"`{outcome}`" in PAGE
