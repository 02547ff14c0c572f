"""W3C trace contexts as they travel and are stored: the text of a `traceparent`, or ''.

https://www.w3.org/TR/trace-context/#traceparent-header
"""

from __future__ import annotations

import re
from collections.abc import Callable

_FORM = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})(?P<trace>[0-9a-f]{32})"
    r"-(?!0{16})(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
)
_SAMPLED = 1


def valid(text: str) -> str:
    """The text where it is a trace context, else ''."""
    return text if _FORM.fullmatch(text) else ""


def unsampled(bits: Callable[[int], int]) -> str:
    """A new context whose spans nobody keeps; `bits(n)` gives n random bits.

    >>> unsampled(lambda n: n)
    '00-00000000000000000000000000000080-0000000000000040-00'
    """
    return f"00-{bits(128) or 1:032x}-{bits(64) or 1:016x}-00"


def trace_id(text: str) -> str:
    """The id of the trace, '' where there is none.

    >>> trace_id("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    '4bf92f3577b34da6a3ce929d0e0e4736'
    """
    found = _FORM.fullmatch(text)
    return found["trace"] if found else ""


def is_sampled(text: str) -> bool:
    """Whether whoever made the context keeps its spans."""
    found = _FORM.fullmatch(text)
    return found is not None and bool(int(found["flags"], 16) & _SAMPLED)
