"""Foreign text in our own: its beginning, so that an error, a log line or an event stays short."""

from __future__ import annotations

QUOTE_MAX = 200
"""Characters of a foreign value in a message."""

MESSAGE_MAX = 4000
"""Characters of a message, which may quote several values."""


def cut(text: str, most: int = MESSAGE_MAX) -> str:
    """A text, or its beginning and an ellipsis.

    >>> cut("abcdef", 3), cut("abc", 3)
    ('abc…', 'abc')
    """
    return text if len(text) <= most else text[:most] + "…"


def quote(value: object) -> str:
    """A value as Python writes it, or the beginning of that.

    >>> quote("a"), len(quote("a" * 10_000))
    ("'a'", 201)
    """
    return cut(repr(value), QUOTE_MAX)
