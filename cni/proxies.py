"""Who answers for others: a router with proxy ARP or an NDP proxy answers to any address at all.

Only who answers to few addresses of a subnet can be believed to have one of them. So others of the
same subnet are asked for, too, of which nobody could have most. Pure; addresses and MACs are bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from random import Random

CONTROLS = 16
"""How many other addresses of a subnet are asked for."""

SIZE_MIN = 16
"""A subnet of fewer addresses cannot tell: one machine may have most of them."""

Answers = Mapping[bytes, Collection[bytes]]
"""The MACs that answered to each address."""


def controls(address: bytes, prefix: int, random: Random) -> frozenset[bytes]:
    """Other addresses of the subnet of an address; none if it is too small.

    >>> sorted(c[3] for c in controls(bytes([10, 0, 0, 7]), 28, Random(1)))
    [2, 3, 5, 8, 10, 11, 13, 14]
    """
    size = 1 << len(address) * 8 - prefix
    if size < SIZE_MIN:
        return frozenset()
    own = int.from_bytes(address, "big")
    network, found = own - own % size, set[int]()
    while len(found) < min(CONTROLS, size // 2):
        found.add(network + random.randrange(1, size - 1))
        found.discard(own)
    return frozenset(one.to_bytes(len(address), "big") for one in found)


def proxies(answers: Answers, asked: Collection[bytes]) -> frozenset[bytes]:
    """The MACs that answered to three quarters of what was asked, or more."""
    macs = [mac for address in asked for mac in set(answers.get(address, ()))]
    return frozenset(mac for mac in macs if macs.count(mac) * 4 >= len(asked) * 3)
