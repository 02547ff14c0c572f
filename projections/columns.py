"""Columns: many values of a kind in a form that is quick to write, to read, and to hold apart.

A column of values that repeat is a table of the different ones and, for each row, which it is.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T", bound=Hashable)

_WORD = 64
_WORD_MASK = (1 << _WORD) - 1


class Column(msgspec.Struct, Generic[T], array_like=True, frozen=True, gc=False):
    """Row `i` holds `table[at[i]]`."""

    table: list[T]
    at: list[int]

    def rows(self) -> Iterator[T]:
        """The values of all rows."""
        return map(self.table.__getitem__, self.at)


def column(values: Iterable[T]) -> Column[T]:
    """A column of these rows; equal rows make equal columns.

    >>> column(["b", "a", "b"])
    Column(table=['b', 'a'], at=[0, 1, 0])
    """
    table: dict[T, int] = {}
    at = [table.setdefault(value, len(table)) for value in values]
    return Column(list(table), at)


class Numbers(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Integers of up to 128 bits: MessagePack ends at 64. Without `high` all are below that."""

    low: list[int]
    high: list[int]

    def rows(self) -> list[int]:
        """The integers of all rows."""
        if not self.high:
            return self.low
        return [high << _WORD | low for high, low in zip(self.high, self.low, strict=True)]


def numbers(values: Sequence[int]) -> Numbers:
    """A column of integers.

    >>> numbers([1, 1 << 64]).rows() == [1, 1 << 64]
    True
    """
    if max(values, default=0) >> _WORD == 0:
        return Numbers(list(values), [])
    return Numbers([v & _WORD_MASK for v in values], [v >> _WORD for v in values])
