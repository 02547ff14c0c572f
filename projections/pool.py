"""One pool: which addresses are held, and which one is next, at a cost that no size changes.

Theory of operation. The addresses of a pool are the intervals `usable`. Some of them may be
`reserved` (SpiderReservedIP): whoever holds one keeps it, but it is not given out. Each of the
others is in one of three places: `taken` (held by an allocation), `fresh` (never used in this
lap: intervals, ascending) or `released` (projections/released.py: in order of release). The next
address is the asker's own last one if it is still released, else the first fresh one, else the
one released longest ago. Since `fresh` goes first and `released` is a queue, an address inside
its reuse hold is given to somebody else only when the pool has no other (DESIGN section 6).

A pool far larger than its use would remember every address it ever gave out, so `released`
keeps the newest RELEASED_MAX; older ones are forgotten, and found again as the fresh addresses
of the next lap once fresh and released are both used up.

An address that becomes reserved leaves `fresh` and `released`; when it is no longer reserved, it
is fresh. A change of reservations costs what it changes, not what the pool holds.
"""

from __future__ import annotations

import copy
from bisect import bisect_right
from typing import NamedTuple

import msgspec

from ipledger.events.addresses import BITS
from ipledger.events.facts import PoolSpec
from ipledger.projections.allocations import Identity, Terms
from ipledger.projections.ranges import (
    Interval,
    Intervals,
    common,
    contains,
    members,
    merged,
    minus,
    size,
    usable,
    without,
)
from ipledger.projections.released import Released


class FrozenPool(NamedTuple):
    """What a pool holds besides its allocations, as it was at a moment.

    `last_of` are the identities that had the `released` addresses, one each.
    """

    spec: PoolSpec
    terminating: bool
    fresh: list[Interval]
    released: list[int]
    last_of: list[Identity]


class Pool:
    """The state of a pool. Changed only by `evolve`; `decide` reads it.

    `taken` leads from addresses to the numbers of the allocations that hold them. `terms` are those
    of an address that is allocated now. `held` is how many of `taken` are kept for the next pod in
    a place. A pool that is `terminating` gives out nothing any more, and goes
    with the last address that it holds. `reserved` are the reserved addresses among `usable`,
    `reserved_free` how many of them nobody holds.
    """

    __slots__ = (
        "_fresh",
        "_released",
        "held",
        "reserved",
        "reserved_free",
        "spec",
        "taken",
        "terminating",
        "terms",
        "total",
        "usable",
    )

    def __init__(self, spec: PoolSpec, reserved: Intervals = ()) -> None:
        self.taken: dict[int, int] = {}
        self.held = 0
        self.terminating = False
        self._released = Released()
        self.define(spec, reserved)

    def define(self, spec: PoolSpec, reserved: Intervals = ()) -> None:
        """Take on a specification. What is held stays held (invariant 3).

        `reserved` are all reserved addresses of the IP version, in this pool or not.
        """
        self.spec = spec
        prefix_length = int(spec.subnet.partition("/")[2])
        assert 0 <= prefix_length <= BITS[spec.ip_version], "a prefix length"
        self.terms = Terms(spec.name, spec.ip_version, prefix_length, spec.gateway)
        self.usable: Intervals = usable(spec)
        self.total = size(self.usable)
        self.reserved: Intervals = common(self.usable, reserved)
        self.reserved_free = size(self.reserved) - len(members(self.taken, self.reserved))
        available = minus(self.usable, self.reserved)
        for address in [a for a in self._released if not contains(available, a)]:
            self._released.remove(address)
        self._fresh: list[Interval] = without(available, [*self.taken, *self._released])

    def redefine(self, spec: PoolSpec, reserved: Intervals) -> None:
        """As `define` does; at no cost where the addresses are the same and none is forgotten."""
        before = self.spec
        known = size(tuple(self._fresh)) + len(self._released)
        same = (spec.ips, spec.exclude_ips) == (before.ips, before.exclude_ips)
        if not same or known != self.free:
            self.define(spec, reserved)
            return
        self.spec = spec
        self.terms = msgspec.structs.replace(self.terms, gateway=spec.gateway)

    def drafted(self, spec: PoolSpec, reserved: Intervals) -> Pool:
        """What the pool would be with another specification, as an object of its own."""
        mine = copy.copy(self)
        mine._released = self._released.copied()
        mine.define(spec, reserved)
        return mine

    def reserve(self, reserved: Intervals) -> None:
        """Take on another set of reserved addresses, of which some may lie in this pool."""
        before, self.reserved = self.reserved, common(self.usable, reserved)
        if self.reserved == before:
            return
        gone, back = minus(self.reserved, before), minus(before, self.reserved)
        held_back = members(self.taken, back)
        self.reserved_free += size(gone) - len(members(self.taken, gone))
        self.reserved_free -= size(back) - len(held_back)
        for address in members(self._released, gone):
            self._released.remove(address)
        fresh = minus(tuple(self._fresh), gone)
        self._fresh = list(merged((*fresh, *without(back, held_back))))
        self._begin_lap()

    @property
    def free(self) -> int:
        """How many addresses can be given out now: nobody holds them, and they are not reserved."""
        return self.total - len(self.taken) - self.reserved_free

    def choose(self, identity: Identity) -> int | None:
        """The address that `identity` gets next, None when the pool is exhausted."""
        own = self._released.last_of(identity)
        if own is not None:
            return own
        return self._fresh[0][0] if self._fresh else self._released.oldest

    def can_take(self, address: int) -> bool:
        """Whether this very address could be given out now."""
        inside = contains(self.usable, address) and not contains(self.reserved, address)
        return inside and address not in self.taken

    def take(self, address: int, number: int) -> None:
        """The allocation of that number holds the address from here on."""
        taken = self.taken
        assert address not in taken, "invariant 1: one holder"
        taken[address] = number
        if not self._take_fresh(address) and not self._released.remove(address):
            self._must_have_forgotten(address)
        if not self._fresh and not self._released:
            self._begin_lap()

    def _must_have_forgotten(self, address: int) -> None:
        """Neither fresh nor released: it was forgotten, or cannot be given out."""
        assert contains(self.usable, address), "invariant 2: inside its pool"
        assert not contains(self.reserved, address), "invariant 1: a reserved address is not given"

    def adopt(self, address: int, number: int) -> None:
        """Like `take`, of an address that was given out elsewhere: it may be reserved."""
        if contains(self.reserved, address):
            assert address not in self.taken, "invariant 1: one holder"
            self.taken[address] = number
            self.reserved_free -= 1
        else:
            self.take(address, number)

    def give_back(self, address: int, identity: Identity) -> None:
        """Nobody holds the address from here on; `identity` was the last."""
        del self.taken[address]
        if not contains(self.usable, address):
            return
        if self.reserved and contains(self.reserved, address):
            self.reserved_free += 1
            return
        self._released.add(address, identity)

    def _begin_lap(self) -> None:
        """Find the forgotten addresses again once fresh and released are both used up."""
        if not self._fresh and not self._released and self.free:
            self._fresh = without(minus(self.usable, self.reserved), self.taken)

    def _take_fresh(self, address: int) -> bool:
        """Take an address out of the fresh ones, if it is among them."""
        fresh = self._fresh
        if fresh and fresh[0][0] == address < fresh[0][1]:  # the next one, as it mostly is
            fresh[0] = (address + 1, fresh[0][1])
            return True
        index = bisect_right(fresh, (address, 1 << 128)) - 1
        if index < 0 or address > fresh[index][1]:
            return False
        first, last = fresh[index]
        rest = [(first, address - 1)] if first < address else []
        if address < last:
            rest.append((address + 1, last))
        fresh[index : index + 1] = rest
        return True

    def frozen(self) -> FrozenPool:
        """The pool as it is now, but for what is taken, which allocations tell."""
        released = self._released
        return FrozenPool(
            self.spec,
            self.terminating,
            list(self._fresh),
            list(released),
            list(released.values()),
        )

    @classmethod
    def restored(cls, spec: PoolSpec, reserved: Intervals, fresh: list[Interval]) -> Pool:
        """A pool as it was frozen, less what was released and taken. `settle` it at the end."""
        pool = cls(spec, reserved)
        pool._fresh = fresh
        return pool

    def restore_released(self, address: int, identity: Identity) -> None:
        """The next of the released addresses, in order."""
        self._released.add(address, identity)

    def settle(self) -> None:
        """Count again, now that all that is taken was put into `taken`."""
        self.reserved_free = size(self.reserved) - len(members(self.taken, self.reserved))
