"""Times as the log holds them: microseconds since the Unix epoch, and RFC 3339 text in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from ipledger.events.quoting import quote

_CHARACTERS_MAX = 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


@lru_cache(maxsize=64)  # everything in a commit has the commit's time
def format_time(micros: int) -> str:
    """Microseconds since the Unix epoch as RFC 3339 with six decimals.

    >>> format_time(1795381200_000000)
    '2026-11-22T21:00:00.000000Z'
    """
    moment = _EPOCH + timedelta(microseconds=micros)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> int:
    """RFC 3339 text (or any ISO 8601 with an offset) as microseconds since the Unix epoch.

    Raises `ValueError` on text that is no time or has no offset.

    >>> parse_time("2026-11-22T22:00:00.000001+01:00")
    1795381200000001
    """
    if len(text) > _CHARACTERS_MAX:
        raise ValueError(f"{quote(text)} is no time")
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC (write a Z behind it)")
    micros = (moment - _EPOCH) // timedelta(microseconds=1)
    if not _FIRST <= micros <= _LAST:
        raise ValueError(f"{text!r} is not of the years 1 to 9999")
    return micros
