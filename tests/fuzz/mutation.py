"""Inputs near those of a corpus: cut, repeated, mixed, with tokens of the format put in."""

from __future__ import annotations

import re

from hypothesis import HealthCheck
from hypothesis import strategies as st

from fuzz.target import Target

_COMMON = (
    *(b"\x00", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b'"', b"\\", b"\\ud800", b"\n", b"\r\n"),
    *(b"null", b"true", b"{}", b"[]", b'""', b"0", b"-1", b"1e999", b"NaN", b"-0.0"),
    *(b"9223372036854775808", b"-9223372036854775809", b"1" * 40, b"9" * 5000),
    *(b"[" * 70, b"[" * 20_000, b'{"a":' * 20_000, b"x" * 10_000, b"\xc3\xa9" * 3000),
    *(b"10.0.0.1", b"0.0.0.0/0", b"::", b"fd00::/64", b"10.0.0.1-10.0.0.9", b"\xd9\xa3"),
)
_VALUES = (
    *(b"null", b"true", b"0", b"-1", b"1", b"4", b"6", b"1.5", b"1e999", b"2147483648"),
    *(b"18446744073709551616", b"-9223372036854775809", b"1" * 40, b"9" * 4400),
    *(
        b'""',
        b'"a"',
        b'"a1"',
        b'"a0"',
        b'"a-1"',
        b'"a' + b"9" * 30 + b'"',
        b'"a' + b"9" * 4400 + b'"',
    ),
    *(
        b'"10.0.0.1/24"',
        b'"10.0.0.1/99"',
        b'"10.0.0.1/"',
        b'"fd00::1/64"',
        b'"0.0.0.0/0"',
        b'"::/0"',
    ),
    *(b'"10.0.0.9-10.0.0.1"', b'"10.0.0.1-10.0.0.9"', b'"::-ffff::"', b'"\\u0000"', b'"\xc3\xa9"'),
    *(
        b"[]",
        b"{}",
        b"[null]",
        b'[""]',
        b'{"a":1}',
        b'{"a":"b"}',
        b'[["a"]]',
        b"[" * 3000 + b"]" * 3000,
    ),
    *(b'"' + b"x" * 5000 + b'"', b'"2026-11-22T13:00:00Z"', b'"9999-12-31T23:59:59-23:59"'),
)
_SCALAR = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9]+|true|false|null')
_CHANGES_MAX = 6

UNCHECKED = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)
"""Inputs are large, and some take their time."""


def inputs(target: Target) -> st.SearchStrategy[bytes]:
    """Inputs for a target: mostly a seed with a few changes."""
    seeds = target.seeds()
    return _changed(seeds, (*target.tokens, *_COMMON)) | st.binary(max_size=200)


@st.composite
def _changed(draw: st.DrawFn, seeds: list[bytes], tokens: tuple[bytes, ...]) -> bytes:
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, _CHANGES_MAX))):
        data = _change(draw, data, seeds, tokens)
    return data


def _change(draw: st.DrawFn, data: bytes, seeds: list[bytes], tokens: tuple[bytes, ...]) -> bytes:
    ends = (draw(st.integers(0, len(data))), draw(st.integers(0, len(data))))
    start, end = min(ends), max(ends)
    match draw(st.integers(0, 9)):
        case 0:
            return data[:start] + data[end:]
        case 1:
            return data[:end] + data[start:]
        case 2:
            return data[:start] + draw(st.sampled_from(tokens)) + data[start:]
        case 3:
            return data[:start] + draw(st.sampled_from(tokens)) + data[end:]
        case 4:
            other = draw(st.sampled_from(seeds))
            return data[:start] + other[draw(st.integers(0, len(other))) :]
        case 5:
            return data[:start] + draw(st.binary(min_size=1, max_size=3)) + data[start + 1 :]
        case 6:
            return _other_value(draw, data, draw(st.sampled_from(seeds)))
        case 7 | 8:
            return _other_value(draw, data, b"")
        case _:
            part = data[start : min(end, start + 64)]
            times = draw(st.integers(2, 200))
            return data[:start] + part * times + data[end:] if part else data


def _other_value(draw: st.DrawFn, data: bytes, source: bytes) -> bytes:
    """The data with one of its JSON values replaced: by one of `source`, or by a bad one."""
    places = list(_SCALAR.finditer(data))
    if not places:
        return data
    place = draw(st.sampled_from(places))
    value = draw(st.sampled_from(_SCALAR.findall(source) or _VALUES))
    return bytes(data[: place.start()] + value + data[place.end() :])
