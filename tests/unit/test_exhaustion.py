"""The forecast of a pool's exhaustion."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipledger.projections.exhaustion import Exhaustion, Sample, Usage, forecast, growth

MINUTE = 60_000_000


def usage(*counts: int, window_s: float = 3600.0) -> Usage:
    """A pool that had these counts, a minute after each other."""
    made = Usage(window_s)
    for minute, count in enumerate(counts):
        made.observe(minute * MINUTE, [("office", count)])
    return made


def test_a_pool_that_grows_steadily_is_full_when_its_free_addresses_are_gone() -> None:
    found = usage(*range(0, 120, 2)).of("office", free=60)
    assert found is not None
    assert found.growth_per_second == pytest.approx(2 / 60)
    assert found.full_in_seconds == pytest.approx(30 * 60)
    assert found.window_seconds == 59 * 60


def test_a_pool_that_shrinks_or_stands_still_is_never_full() -> None:
    for counts in (range(60, 0, -1), [7] * 60):
        found = usage(*counts).of("office", free=10)
        assert found is not None
        assert found.full_in_seconds is None


def test_a_full_pool_is_full_now_whatever_its_rate() -> None:
    found = usage(*[7] * 60).of("office", free=0)
    assert found is not None
    assert found.full_in_seconds == 0


def test_a_short_while_tells_nothing() -> None:
    assert usage(1, 2, 3, 4, 5).of("office", free=10) is None
    assert usage(1, 2, 3, 4, 5, 6).of("office", free=10) is not None
    assert Usage().of("office", free=10) is None


def test_what_is_older_than_the_window_counts_no_more() -> None:
    """It grew for an hour, and stood still for the next."""
    found = usage(*range(60), *[60] * 61).of("office", free=10)
    assert found is not None
    assert found.growth_per_second == pytest.approx(0)


def test_a_pool_that_is_gone_is_forgotten() -> None:
    made = usage(*range(60))
    made.observe(60 * MINUTE, [])
    made.observe(61 * MINUTE, [("office", 61)])
    assert made.of("office", free=10) is None


def test_one_wave_of_pods_counts_as_much_as_it_is_long() -> None:
    """Thirty pods at once an hour ago are no rate of thirty a minute."""
    found = usage(*[0] * 30, *[30] * 31).of("office", free=30)
    assert found is not None
    assert found.full_in_seconds is not None
    assert 1800 < found.full_in_seconds < 3 * 3600


@given(
    st.lists(st.integers(0, 1 << 64), min_size=2, max_size=60),
    st.integers(0, 1 << 64),
)
def test_it_is_total_and_of_the_right_sign(counts: list[int], free: int) -> None:
    samples = [Sample(n * MINUTE, count) for n, count in enumerate(counts)]
    rate = growth(samples, 60.0)
    assert rate is not None
    found: Exhaustion = forecast("office", rate, 60.0, free)
    assert found.full_in_seconds is None or found.full_in_seconds >= 0
    if sorted(counts) == counts and free:
        assert (found.full_in_seconds is None) == (rate <= 0)
