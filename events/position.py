"""A position: where an event stands in the log, `<stream sequence>.<index in its commit>`."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

PositionText: TypeAlias = Annotated[str, Meta(pattern=r"^([0-9]{1,18}\.[0-9]{1,9})?$")]
"""A position as text in a message; '' is `START`."""

_INDEX_BITS = 20
INDEX_MAX = (1 << _INDEX_BITS) - 1
"""Above every index: no message that NATS takes has room for so many events."""


class Position(msgspec.Struct, frozen=True, order=True, array_like=True, gc=False):
    """Ordered as the log is. The state before any event stands at `START`.

    >>> str(Position(12, 3)), Position.parse("12.3") < Position(13, 0)
    ('12.3', True)
    """

    sequence: int
    index: int

    def __str__(self) -> str:
        return f"{self.sequence}.{self.index}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read `12.3`. Raises `ValueError` naming the text."""
        sequence, dot, index = text.partition(".")
        if not (dot and sequence.isdecimal() and index.isdecimal()):
            raise ValueError(f"{text!r} is not a position; write <sequence>.<index>, such as 12.0")
        return cls(int(sequence), int(index))

    @property
    def number(self) -> int:
        """The position as one integer, in the same order: what the history keeps."""
        return self.sequence << _INDEX_BITS | self.index

    @classmethod
    def of_number(cls, number: int) -> Position:
        """The inverse of `number`.

        >>> Position.of_number(Position(12, 3).number)
        Position(sequence=12, index=3)
        """
        return cls(number >> _INDEX_BITS, number & INDEX_MAX)


START = Position(0, 0)


def from_message(text: PositionText) -> Position:
    """The position that a decoded message holds.

    >>> from_message(""), from_message("12.3")
    (Position(sequence=0, index=0), Position(sequence=12, index=3))
    """
    return Position.parse(text) if text else START
