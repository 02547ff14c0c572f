"""Times as an operator writes them: RFC 3339, or how long ago."""

from __future__ import annotations

import re

from ipledger.cli.errors import UsageError
from ipledger.events.clock import parse_time

_AGO = re.compile(r"(?P<spans>(?:\d+[smhdw])+) ago")
_SPAN = re.compile(r"(\d+)([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_moment(text: str, option: str, now: int) -> int:
    """A time in microseconds since the Unix epoch. Raises `UsageError` naming option and text.

    >>> parse_moment("1h30m ago", "--since", 7_200_000_000)
    1800000000
    """
    ago = _AGO.fullmatch(text.strip())
    if ago is not None:
        spans = _SPAN.findall(ago["spans"])
        return now - sum(int(count) * _SECONDS[unit] for count, unit in spans) * 1_000_000
    try:
        return parse_time(text)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{option}: {text!r} is not a time; write 2026-11-22T21:14:05Z or '2h ago'"
        ) from None
