"""A log against its second copy: identical as far as both go, which one is behind, who is right."""

from __future__ import annotations

import pytest
from support.chains import chain
from support.memory import memory_log

from ipledger.events.commit import digest
from ipledger.events.log import Entry
from ipledger.replay.verify import compare

COMMITS = chain(6)
OTHERS = chain(6, "other")
CHANGED = Entry(3, COMMITS[2].payload.replace(b'"e"', b'"f"'))


async def test_equal_ones_are_good() -> None:
    report = await compare(memory_log(*COMMITS), memory_log(*COMMITS))
    assert (report.ok, report.commits, report.ledger_commits, report.behind) == (True, 6, 6, "")


@pytest.mark.parametrize("count", [0, 4])
async def test_a_ledger_may_be_behind_and_the_rest_of_the_log_is_verified(count: int) -> None:
    copied = memory_log(*COMMITS[:count])
    report = await compare(memory_log(*COMMITS), copied)
    assert (report.ok, report.commits, report.ledger_commits) == (True, 6, count)
    assert report.behind == f"ledger by {6 - count}"

    broken = await compare(memory_log(*COMMITS[:5], OTHERS[5]), copied)
    assert (broken.ok, broken.bad_position) == (False, "6.0")
    assert broken.reason.endswith("; the ledger ends before it")


@pytest.mark.parametrize("count", [0, 4])
async def test_a_log_behind_its_ledger_lost_something(count: int) -> None:
    report = await compare(memory_log(*COMMITS[:count]), memory_log(*COMMITS))
    assert (report.ok, report.commits, report.bad_position) == (False, count, f"{count + 1}.0")
    assert report.reason == (
        f"missing: the log ends at {count}, and the ledger goes on; the ledger is good up to 6"
    )
    assert report.ledger_commits == 6


@pytest.mark.parametrize(
    ("log", "ledger", "verdict", "good"),
    [
        ([CHANGED], [COMMITS[2]], "the ledger is good up to 6", 6),
        ([COMMITS[2]], [CHANGED], "the ledger is not good either: 4.0: prev is ", 3),
    ],
)
async def test_a_commit_that_differs_is_named_with_what_is_true_of_the_ledger(
    log: list[Entry], ledger: list[Entry], verdict: str, good: int
) -> None:
    report = await compare(
        memory_log(*COMMITS[:2], *log, *COMMITS[3:]),
        memory_log(*COMMITS[:2], *ledger, *COMMITS[3:]),
    )

    assert (report.ok, report.commits, report.bad_position) == (False, 2, "3.0")
    hashes = f"{digest(log[0].payload)} in the log and {digest(ledger[0].payload)} in the ledger"
    assert report.reason.startswith(f"its hash is {hashes}; {verdict}")
    assert report.ledger_commits == good


async def test_what_is_wrong_in_both_is_said_to_be() -> None:
    both = [*COMMITS[:3], OTHERS[3]]
    report = await compare(memory_log(*both), memory_log(*both))
    assert (report.ok, report.bad_position, report.ledger_commits) == (False, "4.0", 3)
    assert report.reason.endswith("; the ledger has it too")


async def test_two_histories_that_are_each_whole_differ_at_their_first_commit() -> None:
    report = await compare(memory_log(*OTHERS), memory_log(*COMMITS))
    assert (report.ok, report.commits, report.bad_position) == (False, 0, "1.0")
    assert report.reason.endswith("; the ledger is good up to 6")
