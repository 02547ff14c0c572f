"""The names of a family's pools, and which of them a wildcard matches."""

from __future__ import annotations

import fnmatch
import re
from functools import lru_cache

_REMEMBERED = 256


class NameIndex:
    """Sorted names, as they are between two changes of pools."""

    __slots__ = ("names",)

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def matching(self, pattern: str) -> tuple[str, ...]:
        """The names that a wildcard (`*`, `?`, `[a-z]`, `[^a-z]`) matches, in order."""
        return _matching(self, pattern)


@lru_cache(maxsize=_REMEMBERED)  # by the object's identity: pools change rarely, pods come often
def _matching(index: NameIndex, pattern: str) -> tuple[str, ...]:
    matches = re.compile(fnmatch.translate(pattern.replace("[^", "[!"))).match
    return tuple(name for name in index.names if matches(name))
