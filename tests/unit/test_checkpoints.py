"""When the leader signs: every so many commits and when asked, always what is acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from msgspec.structs import replace
from support.chains import chained
from support.desk import Desk, serving
from support.golden import SIGNER
from support.memory import memory_log
from support.text import command

from ipledger.engine.checkpoints import Checkpoints
from ipledger.engine.commit_loop import CommitLoop
from ipledger.events import commit
from ipledger.events.chain import Head
from ipledger.events.checkpoint import check_signature
from ipledger.events.types import AnyEvent, CheckpointSigned, LeadershipTaken
from ipledger.projections.state import State
from ipledger.replay.verify import verify

LEADER = LeadershipTaken(epoch=1, engine="e", version="0")


def desk(every: int) -> tuple[Desk, Checkpoints]:
    checkpoints = Checkpoints(SIGNER, "shop", every)
    made = Desk()
    made.loop = CommitLoop(made.log, made.fold, made.clock, checkpoints=checkpoints)
    return made, checkpoints


def signed(made: Desk) -> list[tuple[int, int, CheckpointSigned]]:
    """Where each checkpoint stands, and the checkpoint."""
    return [
        (sequence, index, event)
        for sequence, payload in enumerate(made.log.payloads, 1)
        for index, event in enumerate(commit.decode(payload).events)
        if isinstance(event, CheckpointSigned)
    ]


async def apply_pools(made: Desk, count: int) -> None:
    for number in range(count):
        await made.ask(command(f"pool p{number} 10.{number}.0.0/24 ips=10.{number}.0.1"))


async def test_a_checkpoint_is_signed_every_so_many_commits() -> None:
    made, _ = desk(every=3)
    async with serving(made):
        await apply_pools(made, 8)
    # each one opens the commit behind the one it signs
    assert [(at, index) for at, index, _ in signed(made)] == [(4, 0), (7, 0)]
    for at, _, event in signed(made):
        assert (event.realm, event.sequence) == ("shop", at - 1)
        assert event.hash == commit.digest(made.log.payloads[at - 2])
        check_signature(event)
    assert (await verify(made.log)).checkpoints == 2


async def test_none_is_signed_by_itself_when_that_is_switched_off() -> None:
    made, _ = desk(every=0)
    async with serving(made):
        await apply_pools(made, 5)
    assert signed(made) == []


async def test_one_that_is_asked_for_is_signed_at_once_though_nothing_else_happens() -> None:
    made, checkpoints = desk(every=0)
    async with serving(made):
        await apply_pools(made, 1)
        checkpoints.ask()

        found = await made.ask(_newest)

        assert found.sequence == 2
        assert len(made.log.payloads) == 3
        assert await made.ask(_newest) == found, "it is signed once"
        assert len(made.log.payloads) == 3


async def test_an_answer_with_a_checkpoint_waits_until_it_is_durable() -> None:
    made, checkpoints = desk(every=0)
    async with serving(made):
        checkpoints.ask()
        asked = made.submit(_newest)
        assert asked is not None
        found = await asyncio.wait_for(asked, 60)
        assert [event for _, _, event in signed(made)] == [found]


async def test_the_state_remembers_the_newest() -> None:
    made, checkpoints = desk(every=2)
    async with serving(made):
        await apply_pools(made, 5)
        checkpoints.ask()
        assert await made.ask(_newest) == signed(made)[-1][2]


def _newest(state: State) -> CheckpointSigned | None:
    return state.checkpoint


HEAD = Head(1, commit.digest(chained((LEADER,))[0].payload))
GOOD = SIGNER.sign("shop", HEAD, 0)


@pytest.mark.parametrize(
    ("events", "position", "what"),
    [
        ((replace(GOOD, sequence=2),), "2.0", "a checkpoint is of the commit before it"),
        ((SIGNER.sign("shop", Head(1, "0" * 64), 0),), "2.0", "is of commit 1 with hash 000"),
        ((replace(GOOD, time="2026-11-22T12:00:00Z"),), "2.0", "the checkpoint is forged"),
        ((GOOD, SIGNER.sign("bank", HEAD, 0)), "2.1", "realm 'bank' in the log of 'shop'"),
    ],
)
async def test_verify_finds_a_checkpoint_in_the_log_that_is_wrong(
    events: Sequence[AnyEvent], position: str, what: str
) -> None:
    report = await verify(memory_log(*chained((LEADER,), events)))

    assert (report.ok, report.commits, report.bad_position) == (False, 1, position)
    assert what in report.reason


async def test_a_kept_checkpoint_that_the_log_agrees_with_is_accepted() -> None:
    log = memory_log(*chained((LEADER,), (GOOD,)))
    assert (await verify(log, kept=[GOOD])).ok


async def test_a_kept_checkpoint_tells_of_a_history_that_was_rewritten() -> None:
    other = LeadershipTaken(epoch=1, engine="other", version="0")
    report = await verify(memory_log(*chained((other,), (LEADER,))), kept=[GOOD])

    assert (report.ok, report.bad_position) == (False, "1.0")
    assert "the history was rewritten at or before this commit" in report.reason
    assert GOOD.hash in report.reason


async def test_a_kept_checkpoint_tells_of_a_log_that_was_cut() -> None:
    later = SIGNER.sign("shop", Head(9, "ab" * 32), 0)
    report = await verify(memory_log(*chained((LEADER,))), kept=[later])

    assert (report.ok, report.commits, report.bad_position) == (False, 1, "2.0")
    assert report.reason == (
        "missing: the log ends at 1, a checkpoint of 1970-01-01T00:00:00.000000Z has 9"
    )
