"""The schedule: each pod once, at the soonest time that was asked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ipledger.gc.schedule import Schedule

asked = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 20)), max_size=30)


@given(asked, st.integers(0, 20))
def test_those_that_are_due_come_once_soonest_first_and_the_rest_stays(
    wishes: list[tuple[str, int]], now: int
) -> None:
    schedule = Schedule()
    soonest: dict[str, int] = {}
    for uid, at in wishes:
        schedule.add(uid, at)
        soonest[uid] = min(at, soonest.get(uid, at))

    due = schedule.due(now, 100)

    expected = sorted((at, uid) for uid, at in soonest.items() if at <= now)
    assert [soonest[uid] for uid in due] == [at for at, _ in expected]
    assert set(due) == {uid for _, uid in expected}
    left = [at for at in soonest.values() if at > now]
    assert (len(schedule), schedule.next_at()) == (len(left), min(left, default=None))


def test_no_more_are_taken_than_asked_for() -> None:
    schedule = Schedule()
    for uid in "abc":
        schedule.add(uid, 1)
    assert len(schedule.due(1, 2)) == 2
    assert len(schedule.due(1, 2)) == 1
