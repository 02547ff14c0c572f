"""The state of one pool: which address is next, and that none is ever given twice at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.text import pool_spec

from ipledger.projections.allocations import Identity
from ipledger.projections.pool import Pool
from ipledger.projections.ranges import Intervals, contains, merged

BASE = 0x0A000000
_identities: dict[int, Identity] = {}
"""Whose each allocation is, by its number."""


def pool(text: str) -> Pool:
    return Pool(pool_spec(f"a 10.0.0.0/8 version=4 {text}"))


def take(pool: Pool, name: str) -> int | None:
    """Give `name` its next address, counted from 10.0.0.0."""
    identity = (name, "eth0")
    address = pool.choose(identity)
    if address is None:
        return None
    pool.take(address, numbered(identity))
    return address - BASE


def numbered(identity: Identity) -> int:
    number = len(_identities) + 1
    _identities[number] = identity
    return number


def give_back(pool: Pool, address: int) -> None:
    pool.give_back(address + BASE, _identities[pool.taken[address + BASE]])


def takes(pool: Pool, names: str) -> list[int | None]:
    return [take(pool, name) for name in names]


def test_never_used_addresses_go_first_ascending_over_all_ranges() -> None:
    assert takes(pool("ips=10.0.0.7,10.0.0.1-10.0.0.3"), "abcde") == [1, 2, 3, 7, None]


def test_excluded_addresses_are_never_given() -> None:
    assert takes(pool("ips=10.0.0.1-10.0.0.5 exclude=10.0.0.2-10.0.0.4"), "abc") == [1, 5, None]


def test_choosing_alone_changes_nothing() -> None:
    one = pool("ips=10.0.0.1-10.0.0.2")
    assert [one.choose(("a", "eth0")) for _ in range(3)] == [BASE + 1] * 3
    assert one.free == 2


def test_released_addresses_go_in_order_of_release_once_all_were_used() -> None:
    one = pool("ips=10.0.0.1-10.0.0.4")
    takes(one, "abc")
    give_back(one, 2)
    give_back(one, 1)
    assert takes(one, "defg") == [4, 2, 1, None]


def test_an_identity_gets_its_own_last_address_back_before_any_other() -> None:
    one = pool("ips=10.0.0.1-10.0.0.9")
    takes(one, "abc")
    give_back(one, 1)
    give_back(one, 2)
    assert take(one, "b") == 2


def test_an_own_last_address_that_another_took_is_not_given() -> None:
    one = pool("ips=10.0.0.1-10.0.0.2")
    takes(one, "ab")
    give_back(one, 1)
    assert take(one, "c") == 1
    give_back(one, 2)
    assert take(one, "a") == 2


def test_free_counts_what_nobody_holds() -> None:
    one = pool("ips=10.0.0.1-10.0.0.4")
    takes(one, "abc")
    give_back(one, 2)
    assert (one.total, len(one.taken), one.free) == (4, 2, 2)


def test_a_wider_pool_gives_its_new_addresses_first() -> None:
    one = pool("ips=10.0.0.5-10.0.0.6")
    takes(one, "ab")
    give_back(one, 5)
    one.define(pool("ips=10.0.0.1,10.0.0.5-10.0.0.7").spec)
    assert takes(one, "cdef") == [1, 7, 5, None]


def test_a_narrower_pool_forgets_released_addresses_that_left() -> None:
    one = pool("ips=10.0.0.1-10.0.0.3")
    takes(one, "abc")
    for address in (1, 2, 3):
        give_back(one, address)
    one.define(pool("ips=10.0.0.2-10.0.0.3").spec)
    assert takes(one, "aaa") == [2, 3, None]


def test_taking_a_held_address_breaks_invariant_1() -> None:
    one = pool("ips=10.0.0.1")
    take(one, "a")
    with pytest.raises(AssertionError, match="invariant 1"):
        one.take(BASE + 1, numbered(("b", "eth0")))


def test_taking_an_address_that_is_not_the_pools_breaks_invariant_2() -> None:
    with pytest.raises(AssertionError, match="invariant 2"):
        pool("ips=10.0.0.1").take(BASE + 2, numbered(("b", "eth0")))


def test_an_address_that_was_not_next_can_be_taken_and_is_not_given_again() -> None:
    one = pool("ips=10.0.0.1-10.0.0.5")
    one.take(BASE + 3, numbered(("x", "eth0")))
    assert takes(one, "abcde") == [1, 2, 4, 5, None]


def test_a_pool_remembers_the_newest_releases_and_finds_the_rest_on_its_next_lap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ipledger.projections.released.RELEASED_MAX", 2)
    one = pool("ips=10.0.0.1-10.0.0.5")
    takes(one, "abcde")
    for address in (4, 1, 2, 3, 5):
        give_back(one, address)

    remembered = takes(one, "fg")
    next_lap = takes(one, "hijk")

    assert remembered == [3, 5]
    assert next_lap == [1, 2, 4, None]


@given(st.lists(st.integers(0, 99), max_size=120), st.integers(0, 4))
def test_however_little_a_pool_remembers_no_address_is_lost_or_given_twice(
    moves: list[int], released_max: int
) -> None:
    """Each number takes for a pod (even) or gives back something held (odd)."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("ipledger.projections.released.RELEASED_MAX", released_max)
        one = pool("ips=10.0.0.1-10.0.0.3,10.0.0.6-10.0.0.8")
        held: set[int] = set()
        for move in moves:
            if move % 2 == 0:
                address = take(one, f"p{move % 9}")
                assert (address is None) == (len(held) == one.total), "free, but not found"
                if address is not None:
                    assert address not in held, "invariant 1"
                    held.add(address)
            elif held:
                address = sorted(held)[move % len(held)]
                give_back(one, address)
                held.remove(address)
            assert one.free == one.total - len(held)


def test_a_reserved_address_is_not_chosen_and_not_free() -> None:
    one = pool("ips=10.0.0.1-10.0.0.4")
    one.reserve(((BASE + 1, BASE + 2),))
    assert (one.total, one.free, one.reserved_free) == (4, 2, 2)
    assert takes(one, "abc") == [3, 4, None]


def test_a_released_address_that_is_reserved_is_nobodys_last_any_more() -> None:
    one = pool("ips=10.0.0.1-10.0.0.3")
    takes(one, "ab")
    give_back(one, 1)
    one.reserve(((BASE + 1, BASE + 1),))
    assert takes(one, "ac") == [3, None]


def test_a_held_address_that_is_reserved_stays_held_and_is_gone_once_given_back() -> None:
    one = pool("ips=10.0.0.1-10.0.0.2")
    takes(one, "a")
    one.reserve(((BASE + 1, BASE + 1),))
    assert (len(one.taken), one.free, one.reserved_free) == (1, 1, 0)
    give_back(one, 1)
    assert (len(one.taken), one.free, one.reserved_free) == (0, 1, 1)
    assert takes(one, "ab") == [2, None]


def test_addresses_that_are_no_longer_reserved_are_fresh_but_for_the_held() -> None:
    one = pool("ips=10.0.0.1-10.0.0.5")
    takes(one, "ab")
    one.reserve(((BASE + 1, BASE + 4),))
    one.reserve(((BASE + 4, BASE + 4),))
    assert (one.free, one.reserved_free) == (2, 1)
    assert takes(one, "cde") == [3, 5, None]


def test_a_pool_that_is_all_reserved_has_nothing_until_it_is_not() -> None:
    one = pool("ips=10.0.0.1-10.0.0.2")
    one.reserve(((0, 1 << 32),))
    assert (one.free, take(one, "a")) == (0, None)
    one.reserve(())
    assert (one.free, take(one, "a")) == (2, 1)


def test_a_new_specification_keeps_to_the_reservations() -> None:
    one = pool("ips=10.0.0.1")
    one.define(pool("ips=10.0.0.1-10.0.0.3").spec, ((BASE + 2, BASE + 9),))
    assert (one.total, one.free) == (3, 1)
    assert takes(one, "ab") == [1, None]


def test_taking_a_reserved_address_breaks_invariant_1() -> None:
    one = pool("ips=10.0.0.1-10.0.0.2")
    one.reserve(((BASE + 1, BASE + 1),))
    with pytest.raises(AssertionError, match="invariant 1: a reserved address"):
        one.take(BASE + 1, numbered(("a", "eth0")))


intervals = st.tuples(st.integers(0, 9), st.integers(0, 4)).map(
    lambda pair: (BASE + pair[0], BASE + pair[0] + pair[1])
)
reserved_sets = st.lists(intervals, max_size=3).map(merged)


@given(st.lists(st.integers(0, 99) | reserved_sets, max_size=60), st.integers(1, 4))
def test_whatever_is_reserved_in_between_no_address_is_lost_or_given_while_reserved(
    moves: list[int | Intervals], released_max: int
) -> None:
    """A set is what is reserved from there on; a number takes (even) or gives back (odd)."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("ipledger.projections.released.RELEASED_MAX", released_max)
        one = pool("ips=10.0.0.1-10.0.0.3,10.0.0.6-10.0.0.8")
        reserved: Intervals = ()
        held: set[int] = set()
        for move in moves:
            if not isinstance(move, int):
                reserved = move
                one.reserve(reserved)
            elif move % 2 == 0:
                address = take(one, f"p{move % 9}")
                if address is not None:
                    assert address not in held, "invariant 1"
                    assert not contains(reserved, BASE + address), "invariant 1: reserved"
                    held.add(address)
            elif held:
                address = sorted(held)[move % len(held)]
                give_back(one, address)
                held.remove(address)
            free = [
                address
                for address in (1, 2, 3, 6, 7, 8)
                if address not in held and not contains(reserved, BASE + address)
            ]
            assert one.free == len(free)
            assert (one.choose(("nobody", "eth0")) is None) == (not free), "free, but not found"
