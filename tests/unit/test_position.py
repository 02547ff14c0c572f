"""Positions and times: their text, their order, and what is neither."""

from __future__ import annotations

import pytest
from support.desk import NOON

from ipledger.events.clock import format_time, parse_time
from ipledger.events.position import START, Position


@pytest.mark.parametrize("text", ["0.0", "12.3", "18446744073709551615.65535"])
def test_a_position_is_read_as_it_is_written(text: str) -> None:
    assert str(Position.parse(text)) == text


def test_positions_are_ordered_as_the_log_is() -> None:
    shuffled = [Position(2, 0), Position(1, 10), START, Position(1, 0), Position(1, 2)]
    assert [str(at) for at in sorted(shuffled)] == ["0.0", "1.0", "1.2", "1.10", "2.0"]


@pytest.mark.parametrize(
    "text", ["", ".", "12", "12.", ".3", "-1.0", "1.-1", "1.2.3", "a.b", "1 .2"]
)
def test_what_is_no_position_is_an_error_that_names_it(text: str) -> None:
    with pytest.raises(ValueError, match="is not a position") as error:
        Position.parse(text)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T12:00:00Z",
        "2026-11-22T12:00:00.000000Z",
        "2026-11-22T13:00:00+01:00",
        "2026-11-22 12:00:00+00:00",
    ],
)
def test_one_moment_has_many_texts_and_one_number(text: str) -> None:
    assert parse_time(text) == NOON


def test_times_are_written_with_six_decimals_in_utc() -> None:
    assert format_time(NOON + 1) == "2026-11-22T12:00:00.000001Z"
    assert format_time(0) == "1970-01-01T00:00:00.000000Z"


def test_the_texts_of_times_sort_as_the_times_do() -> None:
    times = [0, 1, 999_999, 1_000_000, NOON, NOON + 1, 4102444800_000000]
    assert sorted(map(format_time, times)) == [format_time(time) for time in times]


@pytest.mark.parametrize(
    "text", ["", "noon", "2026-11-22", "2026-11-22T12:00:00", "2026-11-22T25:00Z"]
)
def test_what_is_no_time_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"offset|format|hour"):
        parse_time(text)
