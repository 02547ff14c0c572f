"""Sets of addresses as sorted, disjoint, inclusive intervals of integers."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import TypeAlias

from netaddr import IPNetwork, IPRange, IPSet

from ipledger.events.addresses import format_ip, parse_ip
from ipledger.events.facts import AddressSpace

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


def usable(spec: AddressSpace) -> Intervals:
    """The addresses of a valid pool or subnet: `ips` minus `excludeIPs`."""
    addresses = _ip_set(spec.ips) - _ip_set(spec.exclude_ips)
    return tuple((r.first, r.last) for r in addresses.iter_ipranges())


def _ip_set(texts: Iterable[str]) -> IPSet:
    ranges = (text.partition("-") for text in texts)
    return IPSet(IPRange(first, last or first) for first, _, last in ranges)


def parse_ranges(texts: Iterable[str], ip_version: int) -> Intervals:
    """Addresses and ranges, in any order, as one set. Raises `ValueError`."""
    return merged(parse_range(text, ip_version) for text in texts)


def merged(intervals: Iterable[Interval]) -> Intervals:
    """The set that intervals make, which may overlap, touch and come in any order.

    >>> merged([(5, 6), (1, 2), (3, 4), (8, 9)])
    ((1, 6), (8, 9))
    """
    found: list[Interval] = []
    for first, last in sorted(intervals):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return tuple(found)


def minus(left: Intervals, right: Intervals) -> Intervals:
    """What is in one set and not in the other.

    >>> minus(((1, 9), (12, 14)), ((3, 4), (9, 12)))
    ((1, 2), (5, 8), (13, 14))
    """
    rest: list[Interval] = []
    at = 0
    for first, last in left:
        while at < len(right) and right[at][1] < first:
            at += 1
        cut, start = at, first
        while cut < len(right) and right[cut][0] <= last:
            if start < right[cut][0]:
                rest.append((start, right[cut][0] - 1))
            start = right[cut][1] + 1
            cut += 1
        if start <= last:
            rest.append((start, last))
    return tuple(rest)


def common(left: Intervals, right: Intervals) -> Intervals:
    """What is in both sets; quick where `left` spans little of a long `right`.

    >>> common(((1, 4), (8, 9)), ((0, 1), (3, 8), (20, 30)))
    ((1, 1), (3, 4), (8, 8))
    """
    if not left or not right:
        return ()
    begin = bisect_left(right, left[0][0], key=lambda interval: interval[1])
    end = bisect_right(right, left[-1][1], key=lambda interval: interval[0])
    return minus(left, minus(left, right[begin:end]))


def members(values: Collection[int], intervals: Intervals) -> list[int]:
    """Which values of a dict or set the intervals hold, at the cost of the smaller of the two."""
    if size(intervals) < len(values):
        inside = (value for first, last in intervals for value in range(first, last + 1))
        return [value for value in inside if value in values]
    return [value for value in values if contains(intervals, value)]


@lru_cache(maxsize=1 << 14)
def network(cidr: str) -> Interval:
    """First and last address of a prefix."""
    net = IPNetwork(cidr)
    return net.first, net.last


def size(intervals: Intervals) -> int:
    """How many addresses the intervals hold."""
    return sum(last - first + 1 for first, last in intervals)


def contains(intervals: Intervals, value: int) -> bool:
    """Whether an address lies in one of the intervals."""
    if len(intervals) == 1:  # as most pools are
        first, last = intervals[0]
        return first <= value <= last
    if not intervals:
        return False
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


def lowest(intervals: Intervals, count: int) -> Intervals:
    """The first `count` addresses of a set, or all of it where it has fewer.

    >>> lowest(((1, 2), (5, 9)), 4)
    ((1, 2), (5, 6))
    """
    found: list[Interval] = []
    for first, last in intervals:
        if count <= 0:
            break
        found.append((first, min(last, first + count - 1)))
        count -= last - first + 1
    return tuple(found)


def texts_of(intervals: Intervals, ip_version: int) -> tuple[str, ...]:
    """A set as manifests write it: single addresses and ranges `a-b`.

    >>> texts_of(((1, 2), (5, 5)), 4)
    ('0.0.0.1-0.0.0.2', '0.0.0.5')
    """
    ends = ((format_ip(ip_version, a), format_ip(ip_version, b)) for a, b in intervals)
    return tuple(first if first == last else f"{first}-{last}" for first, last in ends)
