"""Sets of addresses as intervals, against plain sets of integers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.text import pool_spec

from ipledger.projections.ranges import (
    Intervals,
    common,
    contains,
    members,
    merged,
    minus,
    network,
    overlap,
    parse_range,
    parse_ranges,
    size,
    usable,
    without,
)


def intervals_of(values: set[int]) -> Intervals:
    """The integers as sorted, disjoint intervals that do not touch."""
    found: list[tuple[int, int]] = []
    for value in sorted(values):
        if found and found[-1][1] == value - 1:
            found[-1] = found[-1][0], value
        else:
            found.append((value, value))
    return tuple(found)


def integers(intervals: Intervals | list[tuple[int, int]]) -> list[int]:
    return [value for first, last in intervals for value in range(first, last + 1)]


small_sets = st.sets(st.integers(0, 30))


@given(small_sets)
def test_size_counts_the_addresses(values: set[int]) -> None:
    assert size(intervals_of(values)) == len(values)


@given(small_sets, st.integers(-1, 31))
def test_contains_tells_membership(values: set[int], value: int) -> None:
    assert contains(intervals_of(values), value) == (value in values)


@given(small_sets, st.lists(st.integers(-1, 31)))
def test_without_leaves_the_rest_in_order(values: set[int], taken: list[int]) -> None:
    assert integers(without(intervals_of(values), taken)) == sorted(values - set(taken))


@given(small_sets, small_sets)
def test_overlap_finds_the_first_stretch_that_is_shared(left: set[int], right: set[int]) -> None:
    shared = overlap(intervals_of(left), intervals_of(right))
    if not left & right:
        assert shared is None
    else:
        assert shared is not None
        assert shared[0] == min(left & right)
        assert set(range(shared[0], shared[1] + 1)) <= left & right


@given(small_sets, small_sets)
def test_usable_is_ips_minus_exclude_ips(ips: set[int], excluded: set[int]) -> None:
    def texts(values: set[int]) -> str:
        return ",".join(f"10.0.0.{a}-10.0.0.{b}" for a, b in intervals_of(values))

    words = [f"{key}={texts(values)}" for key, values in (("ips", ips), ("exclude", excluded))]
    spec = pool_spec(f"a 10.0.0.0/24 version=4 {' '.join(words)}")
    base = network("10.0.0.0/24")[0]
    assert usable(spec) == tuple((a + base, b + base) for a, b in intervals_of(ips - excluded))


def test_ranges_that_touch_become_one_interval() -> None:
    spec = pool_spec("a 10.0.0.0/24 version=4 ips=10.0.0.5-10.0.0.9,10.0.0.1-10.0.0.4")
    assert len(usable(spec)) == 1


def test_a_network_is_its_first_and_last_address() -> None:
    assert network("10.1.0.0/24") == (0x0A010000, 0x0A0100FF)
    assert network("fd00::/64") == (0xFD << 120, (0xFD << 120) + 2**64 - 1)
    assert network("10.1.0.5/32") == (0x0A010005, 0x0A010005)


def test_a_range_is_an_address_or_two() -> None:
    assert parse_range("10.1.0.1", 4) == (0x0A010001, 0x0A010001)
    assert parse_range("10.1.0.1-10.1.0.2", 4) == (0x0A010001, 0x0A010002)
    assert parse_range("fd00::1-fd00::ff", 6) == ((0xFD << 120) + 1, (0xFD << 120) + 255)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("10.1.0.2-10.1.0.1", "is reversed"),
        ("fd00::1", "is not an IPv4 range"),
        ("10.1.0.1-fd00::1", "is not an IPv4 range"),
        ("10.1.0.1-", "is not an IP address"),
        ("-", "is not an IP address"),
        ("10.1.0.1 - 10.1.0.2", "is not an IP address"),
        ("10.1.0.0/24", "is not an IP address"),
    ],
)
def test_what_is_no_range_is_an_error_that_says_why(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parse_range(text, 4)


small_sets = st.sets(st.integers(0, 30))
pairs = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 4)), max_size=6)


@given(pairs)
def test_merged_intervals_are_the_set_that_they_cover(pairs: list[tuple[int, int]]) -> None:
    intervals = [(first, first + length) for first, length in pairs]
    assert merged(intervals) == intervals_of({v for a, b in intervals for v in range(a, b + 1)})


@given(small_sets, small_sets)
def test_minus_and_common_are_those_of_sets(left: set[int], right: set[int]) -> None:
    assert minus(intervals_of(left), intervals_of(right)) == intervals_of(left - right)
    assert common(intervals_of(left), intervals_of(right)) == intervals_of(left & right)


@given(small_sets, small_sets)
def test_members_are_the_values_inside(values: set[int], inside: set[int]) -> None:
    found = members(values, intervals_of(inside))
    assert sorted(found) == sorted(values & inside)


def test_ranges_in_any_order_that_overlap_are_one_set() -> None:
    ranges = parse_ranges(("10.1.0.4-10.1.0.9", "10.1.0.1", "10.1.0.2-10.1.0.5"), 4)
    assert ranges == ((0x0A010001, 0x0A010009),)
