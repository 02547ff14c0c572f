"""Prefixes of pools, found by what overlaps them without looking at each."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import NamedTuple

from netaddr import IPNetwork


class _Place(NamedTuple):
    """Where a prefix lies. Two prefixes overlap where one holds the other's first address."""

    version: int
    first: int
    length: int
    text: str


_WIDTH = {4: 32, 6: 128}


class Prefixes:
    """A set of prefixes in CIDR notation."""

    __slots__ = ("_places", "_texts")

    def __init__(self) -> None:
        self._places: list[_Place] = []
        self._texts: dict[tuple[int, int, int], tuple[str, ...]] = {}

    def add(self, prefix: str) -> None:
        """Take in a prefix that is not in."""
        place = _place(prefix)
        insort(self._places, place)
        self._texts[place[:3]] = (*self._texts.get(place[:3], ()), prefix)

    def remove(self, prefix: str) -> None:
        """Take out a prefix that is in."""
        place = _place(prefix)
        del self._places[bisect_left(self._places, place)]
        rest = tuple(text for text in self._texts.pop(place[:3]) if text != prefix)
        if rest:
            self._texts[place[:3]] = rest

    def overlapping(self, prefix: str) -> list[str]:
        """Those that share an address with a prefix, in the order of their texts."""
        place = _place(prefix)
        return sorted({*self._around(place), *self._within(place)})

    def _around(self, place: _Place) -> list[str]:
        """It and those that hold all of it: one for each shorter length, at most."""
        version, first, length, _ = place
        found: list[str] = []
        for shorter in range(length + 1):
            rest = _WIDTH[version] - shorter
            found += self._texts.get((version, first >> rest << rest, shorter), ())
        return found

    def _within(self, place: _Place) -> list[str]:
        """It and those that it holds, which follow one another."""
        version, first, length, _ = place
        end = first + (1 << (_WIDTH[version] - length))
        begin = bisect_left(self._places, (version, first), key=_start)
        stop = bisect_left(self._places, (version, end), key=_start)
        return [one.text for one in self._places[begin:stop] if one.length >= length]

    def copied(self) -> Prefixes:
        """A set of its own with the same content."""
        mine = Prefixes()
        mine._places, mine._texts = list(self._places), dict(self._texts)
        return mine


def _place(prefix: str) -> _Place:
    network = IPNetwork(prefix)
    return _Place(network.version, network.first, network.prefixlen, prefix)


def _start(place: _Place) -> tuple[int, int]:
    return place[:2]
