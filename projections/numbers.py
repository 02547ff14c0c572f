"""Numbers of allocations by a text that the interfaces of one pod share: UID, or sandbox.

Most pods have one interface, and lead to a number; the others to a tuple, in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Numbers: TypeAlias = dict[str, int | tuple[int, ...]]


def numbers_of(index: Numbers, key: str) -> tuple[int, ...]:
    """Those of a key, in the order of their allocation."""
    found = index.get(key)
    if found is None:
        return ()
    return (found,) if isinstance(found, int) else found


def enter(index: Numbers, key: str, number: int) -> None:
    """Take in one that is not in."""
    if index.setdefault(key, number) != number:
        index[key] = tuple(sorted((*numbers_of(index, key), number)))


def strike(index: Numbers, key: str, number: int) -> None:
    """Take one out that is in."""
    found = index.pop(key)
    if found != number:
        assert isinstance(found, tuple)
        rest = tuple(other for other in found if other != number)
        index[key] = rest[0] if len(rest) == 1 else rest


def index_of(keys: Sequence[str], numbers: Sequence[int]) -> Numbers:
    """What `enter` makes of all that there are, and much quicker."""
    index: Numbers = dict(zip(keys, numbers, strict=True))
    if len(index) < len(keys):
        index.clear()
        for key, number in zip(keys, numbers, strict=True):
            enter(index, key, number)
    return index
