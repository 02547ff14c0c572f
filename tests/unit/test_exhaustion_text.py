"""How a forecast is told to a person."""

from __future__ import annotations

import pytest

from ipledger.cli.views import duration_text, exhaustion_text
from ipledger.projections.exhaustion import Exhaustion


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59.6, "1m"),
        (3600, "1h"),
        (12_000, "3h 20m"),
        (90_061, "1d 1h"),
        (86_400 * 365, "365d"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("full_in_s", "text"),
    [(12_000.0, "3h 20m"), (0.0, "it is full"), (None, "never at this rate")],
)
def test_a_forecast_says_its_rate_its_window_and_what_it_ignores(
    full_in_s: float | None, text: str
) -> None:
    told = exhaustion_text(Exhaustion("office", 0.01, 1800, full_in_s))
    assert told == f"{text} (+36.0 addresses an hour over the last 30m, seasons ignored)"


def test_a_pool_of_which_little_is_known_has_none() -> None:
    assert exhaustion_text(None) == "not known yet"
