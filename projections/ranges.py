"""Sets of addresses as sorted, disjoint, inclusive intervals of integers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import TypeAlias

from netaddr import IPNetwork, IPRange, IPSet

from ipledger.events.addresses import parse_ip
from ipledger.events.facts import PoolSpec

Interval: TypeAlias = tuple[int, int]
Intervals: TypeAlias = tuple[Interval, ...]


def parse_range(text: str, ip_version: int) -> Interval:
    """`a` or `a-b` as an interval. Raises `ValueError` that says what is wrong with it."""
    first_text, dash, last_text = text.partition("-")
    first_version, first = parse_ip(first_text)
    last_version, last = parse_ip(last_text) if dash else (first_version, first)
    if first_version != ip_version or last_version != ip_version:
        raise ValueError(f"{text!r} is not an IPv{ip_version} range")
    if first > last:
        raise ValueError(f"{text!r} is reversed: its first address is above its last")
    return first, last


def usable(spec: PoolSpec) -> Intervals:
    """The addresses of a pool: `ips` minus `excludeIPs`. The specification must be valid."""
    addresses = _ip_set(spec.ips) - _ip_set(spec.exclude_ips)
    return tuple((r.first, r.last) for r in addresses.iter_ipranges())


def _ip_set(texts: Iterable[str]) -> IPSet:
    ranges = (text.partition("-") for text in texts)
    return IPSet(IPRange(first, last or first) for first, _, last in ranges)


def network(cidr: str) -> Interval:
    """First and last address of a prefix."""
    net = IPNetwork(cidr)
    return net.first, net.last


def size(intervals: Intervals) -> int:
    """How many addresses the intervals hold."""
    return sum(last - first + 1 for first, last in intervals)


def contains(intervals: Intervals, value: int) -> bool:
    """Whether an address lies in one of the intervals."""
    index = bisect_right(intervals, (value, 1 << 128)) - 1
    return index >= 0 and value <= intervals[index][1]


def without(intervals: Intervals, values: Iterable[int]) -> list[Interval]:
    """The intervals less single addresses; `values` may be in any order and lie outside.

    >>> without(((1, 9),), [3, 4, 9, 20])
    [(1, 2), (5, 8)]
    """
    taken = sorted(values)
    rest: list[Interval] = []
    at = 0
    for first, last in intervals:
        start = first
        while at < len(taken) and taken[at] <= last:
            value = taken[at]
            at += 1
            if value < start:
                continue
            if value > start:
                rest.append((start, value - 1))
            start = value + 1
        if start <= last:
            rest.append((start, last))
    return rest


def overlap(left: Intervals, right: Intervals) -> Interval | None:
    """The first stretch that two sets share, or None.

    >>> overlap(((1, 4), (8, 9)), ((5, 8),))
    (8, 8)
    """
    i = j = 0
    while i < len(left) and j < len(right):
        first, last = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if first <= last:
            return first, last
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return None
