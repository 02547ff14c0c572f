"""One pool: which addresses are held, and which one is next, at a cost that no size changes.

Theory of operation. The addresses of a pool are the intervals `usable`. Each is in one of three
places: `taken` (held by an allocation), `fresh` (never used in this lap: intervals, ascending)
or `released` (in order of release). The next address is the asker's own last one if it is still
released, else the first fresh one, else the one released longest ago. Since `fresh` goes first
and `released` is a queue, an address inside its reuse hold is given to somebody else only when
the pool has no other (DESIGN section 6).

A pool far larger than its use would remember every address it ever gave out, so `released`
keeps the newest RELEASED_MAX; older ones are forgotten, and found again as the fresh addresses
of the next lap once fresh and released are both used up.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict

from ipledger.events.addresses import BITS
from ipledger.events.facts import PoolSpec
from ipledger.projections.allocations import Allocation, Identity
from ipledger.projections.ranges import Interval, Intervals, contains, size, usable, without

RELEASED_MAX = 65_536
"""How many released addresses a pool remembers in order; 30 s at 2,000 releases a second."""


class Pool:
    """The state of a pool. Changed only by `evolve`; `decide` reads it."""

    __slots__ = (
        "_fresh",
        "_last_of",
        "_released",
        "prefix_length",
        "spec",
        "taken",
        "total",
        "usable",
    )

    def __init__(self, spec: PoolSpec) -> None:
        self.taken: dict[int, Allocation] = {}
        self._released: OrderedDict[int, Identity] = OrderedDict()
        self._last_of: dict[Identity, int] = {}
        self.define(spec)

    def define(self, spec: PoolSpec) -> None:
        """Take on a specification. What is held stays held (invariant 3)."""
        self.spec = spec
        self.prefix_length = int(spec.subnet.partition("/")[2])
        self.usable: Intervals = usable(spec)
        self.total = size(self.usable)
        for address in [a for a in self._released if not contains(self.usable, a)]:
            self._unrelease(address)
        self._fresh: list[Interval] = without(self.usable, [*self.taken, *self._released])

    @property
    def free(self) -> int:
        """How many addresses nobody holds."""
        return self.total - len(self.taken)

    @property
    def bits(self) -> int:
        """32 or 128."""
        return BITS[self.spec.ip_version]

    def choose(self, identity: Identity) -> int | None:
        """The address that `identity` gets next, None when the pool is exhausted."""
        own = self._last_of.get(identity)
        if own is not None:
            return own
        if self._fresh:
            return self._fresh[0][0]
        return next(iter(self._released), None)

    def take(self, address: int, allocation: Allocation) -> None:
        """An allocation holds the address from here on."""
        assert address not in self.taken, "invariant 1: one holder"
        assert contains(self.usable, address), "invariant 2: inside its pool"
        if address in self._released:
            self._unrelease(address)
        else:
            self._take_fresh(address)
        self.taken[address] = allocation
        if not self._fresh and not self._released and self.free:
            self._fresh = without(self.usable, self.taken)

    def replace_holder(self, address: int, allocation: Allocation) -> None:
        """The allocation that holds the address has a new form."""
        assert self.taken[address].id == allocation.id
        self.taken[address] = allocation

    def give_back(self, address: int, identity: Identity) -> None:
        """Nobody holds the address from here on; `identity` was the last."""
        del self.taken[address]
        if not contains(self.usable, address):
            return
        self._released[address] = identity
        self._last_of[identity] = address
        if len(self._released) > RELEASED_MAX:
            self._unrelease(next(iter(self._released)))

    def _unrelease(self, address: int) -> None:
        identity = self._released.pop(address)
        if self._last_of.get(identity) == address:
            del self._last_of[identity]

    def _take_fresh(self, address: int) -> None:
        index = bisect_right(self._fresh, (address, 1 << 128)) - 1
        if index < 0:
            return
        first, last = self._fresh[index]
        if address > last:
            return
        rest = [(first, address - 1)] if first < address else []
        if address < last:
            rest.append((address + 1, last))
        self._fresh[index : index + 1] = rest

    def image(self) -> object:
        """All that decides what the pool does next, as plain values (invariant 5)."""
        return [
            self.spec,
            sorted((address, allocation.id) for address, allocation in self.taken.items()),
            self._fresh,
            list(self._released.items()),
        ]
