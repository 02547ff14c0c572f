"""The released addresses of a pool: in which order they were released, and who had each last."""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

from ipledger.projections.allocations import Identity

RELEASED_MAX = 65_536
"""How many addresses are remembered in order; 30 s at 2,000 releases a second."""

_GAPS_MAX = 64
"""So many gaps are borne in any case; more, where there are as many addresses."""

_ByIdentity: TypeAlias = dict[Identity, int | tuple[int, ...]]
"""To an address, and to a tuple of them only where an identity had several."""


class Released(dict[int, Identity]):
    """Who had each address last, oldest release first. Changed by `add` and `remove` alone.

    Theory of operation. The dict has the addresses in their order and would be enough, but that
    finding the oldest key of a dict takes the longer the more were taken out before it. So `_order`
    is the same queue with its oldest address at hand. An address taken out of its middle leaves
    its place there, a gap; the oldest is never one, and when there are too many gaps, `_order` is
    made anew. What an identity had last is found from the first question on, so that a fold of
    which only the outcome is wanted does without (ADR 100).
    """

    __slots__ = ("_by_identity", "_gaps", "_order")

    def __init__(self) -> None:
        self._order: deque[int] = deque()
        self._gaps: dict[int, int] = {}
        self._by_identity: _ByIdentity | None = None

    def copied(self) -> Released:
        """The same ones in an object of its own."""
        mine = Released()
        mine.update(self)
        mine._order.extend(self)
        if self._by_identity is not None:
            mine._by_identity = self._by_identity.copy()
        return mine

    @property
    def oldest(self) -> int | None:
        """The one that was released longest ago."""
        return self._order[0] if self._order else None

    def last_of(self, identity: Identity) -> int | None:
        """The one that an identity released last."""
        found = self.by_identity.get(identity)
        return found[-1] if isinstance(found, tuple) else found

    @property
    def by_identity(self) -> _ByIdentity:
        """Which ones each identity had, in their order, as it is from here on."""
        if self._by_identity is None:
            self._by_identity = {}
            for address, identity in self.items():
                _enter(self._by_identity, identity, address)
        return self._by_identity

    def add(self, address: int, identity: Identity) -> None:
        """An address that is not among them was released; `identity` had it.

        Beyond RELEASED_MAX the oldest is forgotten.
        """
        self[address] = identity
        self._order.append(address)
        if self._by_identity is not None:
            _enter(self._by_identity, identity, address)
        if len(self) > RELEASED_MAX:
            self.remove(self._order[0])

    def remove(self, address: int) -> bool:
        """Take an address out. Returns whether it was among them."""
        identity = self.pop(address, None)
        if identity is None:
            return False
        if self._order[0] == address:
            self._order.popleft()
            self._close_gaps()
        else:
            self._leave_gap(address)
        if self._by_identity is not None:
            _strike(self._by_identity, identity, address)
        return True

    def _leave_gap(self, address: int) -> None:
        self._gaps[address] = self._gaps.get(address, 0) + 1
        if len(self._order) > 2 * len(self) + _GAPS_MAX:
            self._order, self._gaps = deque(self), {}

    def _close_gaps(self) -> None:
        order, gaps = self._order, self._gaps
        while gaps and order[0] in gaps:
            address = order.popleft()
            gaps[address] -= 1
            if not gaps[address]:
                del gaps[address]


def _enter(index: _ByIdentity, identity: Identity, address: int) -> None:
    before = index.setdefault(identity, address)
    if before != address:
        index[identity] = (*_several(before), address)


def _strike(index: _ByIdentity, identity: Identity, address: int) -> None:
    rest = [other for other in _several(index.pop(identity)) if other != address]
    if rest:
        index[identity] = tuple(rest) if len(rest) > 1 else rest[0]


def _several(found: int | tuple[int, ...]) -> tuple[int, ...]:
    return found if isinstance(found, tuple) else (found,)
