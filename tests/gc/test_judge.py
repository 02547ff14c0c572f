"""The judge against its table of cases, and the table against the judge."""

from __future__ import annotations

import dataclasses

import pytest
from support.desk import NOON
from support.judging import JudgeRow, judge_rows, relative

from ipledger.gc.judge import TABLE, Verdict, judge

ROWS = list(judge_rows())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_the_verdict_is_the_one_in_the_table(row: JudgeRow) -> None:
    verdict, why, *at = row.verdict.split()
    found = judge(row.case)
    assert (found.verdict, found.why) == (verdict, why), f"line {row.line}: {found}"
    assert [found.at - NOON] == [relative(text) for text in at] or not at


def test_the_table_has_a_case_for_each_row_of_the_judge() -> None:
    assert len(ROWS) >= 60
    assert len({row.title for row in ROWS}) == len(ROWS)
    assert {judge(row.case).why for row in ROWS} == {row.why for row in TABLE}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_a_look_again_is_later_than_now(row: JudgeRow) -> None:
    found = judge(row.case)
    assert (found.at > row.case.now) == (found.verdict is Verdict.AGAIN)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_every_verdict_has_its_evidence(row: JudgeRow) -> None:
    found = judge(row.case)
    assert str(row.case.claim.pod) in found.evidence
    assert found.text.startswith(f"{found.why}: ")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_what_waits_is_settled_when_its_time_has_come_unless_a_node_says_otherwise(
    row: JudgeRow,
) -> None:
    case, found = row.case, judge(row.case)
    for _ in range(4):
        if found.verdict is not Verdict.AGAIN or found.why == "still-running":
            return
        seen = case.seen or case.now
        case = dataclasses.replace(case, now=found.at, seen=seen)
        found = judge(case)
    pytest.fail(f"it is looked at again for ever: {found}")
