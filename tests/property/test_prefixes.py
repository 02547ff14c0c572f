"""The index of prefixes finds what looking at each would find."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPNetwork

from ipledger.projections.prefixes import Prefixes
from ipledger.projections.ranges import network, overlap

_HOSTS = {4: (32, 10 << 24), 6: (128, 0xFD << 120)}


@st.composite
def prefixes(draw: st.DrawFn) -> str:
    """A prefix among a few hundred near each other, so that they meet."""
    width, base = _HOSTS[draw(st.sampled_from((4, 6)))]
    length = draw(st.sampled_from((8, 12, 14, 15, 16, 17, 20, width)))
    offset = draw(st.integers(0, 255)) << (width - 16)
    net = IPNetwork((base + offset, length), version=4 if width == 32 else 6)
    return str(net.cidr)


def by_looking(known: set[str], prefix: str) -> list[str]:
    return sorted(
        one
        for one in known
        if (":" in one) == (":" in prefix) and overlap((network(one),), (network(prefix),))
    )


@given(st.lists(st.tuples(st.booleans(), prefixes())), prefixes())
def test_what_overlaps_is_found_whatever_came_and_went(
    changes: list[tuple[bool, str]], asked: str
) -> None:
    index, known = Prefixes(), set[str]()
    for comes, prefix in changes:
        if comes and prefix not in known:
            index.add(prefix)
            known.add(prefix)
        elif not comes and prefix in known:
            index.remove(prefix)
            known.discard(prefix)
    assert index.overlapping(asked) == by_looking(known, asked)


@given(st.sets(prefixes(), min_size=1), prefixes())
def test_a_copy_is_its_own(known: set[str], asked: str) -> None:
    index = Prefixes()
    for prefix in sorted(known):
        index.add(prefix)
    copied = index.copied()
    for prefix in known:
        copied.remove(prefix)
    assert copied.overlapping(asked) == []
    assert index.overlapping(asked) == by_looking(known, asked)
