"""Equal values kept once: a node, a workload, a pool are named in most allocations."""

from __future__ import annotations

from typing import Any, TypeVar

SHARED_MAX = 65_536
"""How many values are kept at hand; names come and go for years, so all are let go at that."""

V = TypeVar("V")


class Shared:
    """Saves memory and nothing else: whoever holds a value need not care whose it is."""

    __slots__ = ("_first",)

    def __init__(self) -> None:
        self._first: dict[Any, Any] = {}

    def one(self, value: V) -> V:
        """The value that was first seen of those that equal this one."""
        if len(self._first) >= SHARED_MAX:
            self._first.clear()
        first: V = self._first.setdefault(value, value)
        return first
