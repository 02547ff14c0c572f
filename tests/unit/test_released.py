"""The queue of released addresses behaves as a plain list of them would."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipledger.projections.allocations import Identity
from ipledger.projections.released import Released

A, B = ("a", "eth0"), ("b", "eth0")

moves = st.lists(st.tuples(st.integers(0, 7), st.sampled_from([A, B])), max_size=80)


def assert_last(released: Released, model: list[tuple[int, Identity]]) -> None:
    for identity in (A, B):
        own = [address for address, its in model if its == identity]
        assert released.last_of(identity) == (own[-1] if own else None)


@given(moves, st.booleans(), st.integers(0, 3))
def test_whatever_is_added_and_removed_it_is_a_list_in_order_of_release(
    told: list[tuple[int, Identity]], asked_early: bool, gaps_max: int
) -> None:
    """An address that is in is removed, one that is not is added."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("ipledger.projections.released._GAPS_MAX", gaps_max)
        released, model = Released(), list[tuple[int, Identity]]()
        if asked_early:
            assert released.last_of(A) is None
        for address, identity in told:
            if address in released:
                assert released.remove(address)
                model = [row for row in model if row[0] != address]
            else:
                released.add(address, identity)
                model.append((address, identity))
            assert list(released.items()) == model
            assert released.oldest == (model[0][0] if model else None)
        assert_last(released, model)
        assert list(released.copied().items()) == model
        copied = released.copied()
        for address in range(8):
            if not copied.remove(address):
                copied.add(address, A)
        assert list(released.items()) == model
        assert_last(released, model)


def test_removing_what_is_not_in_changes_nothing() -> None:
    released = Released()
    released.add(1, A)
    assert not released.remove(2)
    assert list(released) == [1]


def test_an_identity_whose_last_one_was_taken_by_another_has_the_one_before() -> None:
    released = Released()
    released.add(1, A)
    released.add(2, A)
    assert released.last_of(A) == 2
    released.remove(2)
    assert released.last_of(A) == 1


def test_an_address_that_comes_and_goes_behind_others_takes_no_more_room_each_time() -> None:
    """A pod that is started again and again has its own address each time."""
    released = Released()
    released.add(1, A)
    for _ in range(1000):
        released.add(2, B)
        released.remove(2)
    assert len(released._order) < 100  # pyright: ignore[reportPrivateUsage]
    released.add(2, B)
    released.remove(1)
    assert (released.oldest, list(released)) == (2, [2])
