"""Equal values kept once: a node, a workload, a pool are named in most allocations."""

from __future__ import annotations

from typing import Any

SHARED_MAX = 65_536
"""How many values are kept at hand; names come and go for years, so all are let go at that."""


class Shared(dict[Any, Any]):
    """Saves memory and nothing else: `shared[value]` is the value first seen that equals it.

    Whoever holds a value need not care whose it is.
    """

    __slots__ = ()

    def __missing__(self, value: Any) -> Any:
        if len(self) >= SHARED_MAX:
            self.clear()
        self[value] = value
        return value
