"""Which attachments a DEL has ended, for 120 seconds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.desk import NOON, SECOND

from ipledger.projections.fence import FENCE_MICROS, EndedAttachments

ETH0, NET1 = ("s1", "eth0"), ("s1", "net1")


def test_the_fence_stands_for_120_seconds() -> None:
    assert FENCE_MICROS == 120 * SECOND


def test_an_attachment_that_did_not_end_is_not_fenced() -> None:
    assert EndedAttachments().ended_at(ETH0, NOON) is None


def test_an_ended_attachment_is_fenced_until_120_seconds_are_over() -> None:
    ended = EndedAttachments()
    ended.end(ETH0, NOON)
    assert ended.ended_at(ETH0, NOON) == NOON
    assert ended.ended_at(ETH0, NOON + FENCE_MICROS - 1) == NOON
    assert ended.ended_at(ETH0, NOON + FENCE_MICROS) is None


def test_another_interface_of_the_sandbox_is_not_fenced() -> None:
    ended = EndedAttachments()
    ended.end(ETH0, NOON)
    assert ended.ended_at(NET1, NOON) is None


def test_an_attachment_that_ends_again_is_fenced_from_then_on() -> None:
    ended = EndedAttachments()
    ended.end(ETH0, NOON)
    ended.end(ETH0, NOON + 60 * SECOND)
    ended.end(NET1, NOON + 130 * SECOND)
    assert ended.ended_at(ETH0, NOON + 130 * SECOND) == NOON + 60 * SECOND


def test_old_attachments_are_forgotten_as_new_ones_end() -> None:
    ended = EndedAttachments()
    for second in range(1000):
        ended.end((f"s{second}", "eth0"), NOON + second * SECOND)
        ended.forget()
    assert sum(map(len, ended.by_name.values())) == len(ended.frozen()) == 120


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, FENCE_MICROS)), max_size=30))
def test_whatever_ends_when_the_last_time_within_the_fence_is_told(
    ends: list[tuple[str, int]],
) -> None:
    ended, last, now = EndedAttachments(), dict[str, int](), NOON
    for sandbox, wait in ends:
        now += wait
        ended.end((sandbox, "eth0"), now)
        ended.forget()
        last[sandbox] = now
        for name, at in last.items():
            expected = at if now - at < FENCE_MICROS else None
            assert ended.ended_at((name, "eth0"), now) == expected


def test_what_was_frozen_stays_as_it_was_though_more_ends_in_the_same_moment() -> None:
    ended = EndedAttachments()
    ended.end(ETH0, NOON)
    frozen = ended.frozen()
    ended.end(NET1, NOON)
    assert frozen == [(NOON, (ETH0,))]
    assert ended.frozen() == [(NOON, (ETH0, NET1))]
