"""A state made again from the blocks of its image (projections/image.py)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from ipledger.events.addresses import parse_ip
from ipledger.projections.allocations import Allocation, HeldAddress
from ipledger.projections.applications import key_of
from ipledger.projections.columns import Column
from ipledger.projections.image import (
    Ended,
    Live,
    PoolBlock,
    Realm,
    Refusals,
    Released,
    block_of,
)
from ipledger.projections.pool import Pool
from ipledger.projections.shared import Shared
from ipledger.projections.state import State

T = TypeVar("T")
H = TypeVar("H", bound=Hashable)


class Filling:
    """An empty state being filled with the blocks of an image, in their order.

    A block that is none, or stands where it cannot, raises some exception.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._pool: Pool | None = None

    def take(self, block: bytes) -> None:
        """Take in the next block."""
        match block_of(block):
            case Realm() as realm:
                self._realm(realm)
            case PoolBlock() as pool:
                self._begin_pool(pool)
            case Released() as released:
                self._released(released)
            case Ended() as ended:
                attachments = zip(ended.sandboxes, ended.interfaces.rows(), strict=True)
                for time, attachment in zip(ended.times.rows(), attachments, strict=True):
                    self._state.ended.end(attachment, time)
            case Refusals() as refused:
                identities = zip(refused.uids, refused.interfaces.rows(), strict=True)
                self._state.refusals.update(zip(identities, refused.keys.rows(), strict=True))
            case Live() as live:
                self._live(live)

    def _realm(self, realm: Realm) -> None:
        state = self._state
        state.position = realm.position
        state.epoch = realm.epoch
        state.engine = realm.engine
        state.events_ever = realm.events_ever
        state.allocated_ever = realm.allocated_ever
        state.subnets = {spec.name: spec for spec in realm.subnets}
        state.reservations = {spec.name: spec for spec in realm.reservations}
        state.applications = {key_of(spec): spec for spec in realm.applications}
        state.checkpoint = realm.checkpoint
        state.quarantined = {parse_ip(event.address): event for event in realm.quarantined}
        state.index_reservations()

    def _begin_pool(self, block: PoolBlock) -> None:
        fresh = zip(block.first_fresh.rows(), block.last_fresh.rows(), strict=True)
        reserved = self._state.reserved[block.spec.ip_version]
        self._pool = Pool.restored(block.spec, reserved, list(fresh))
        self._pool.terminating = block.terminating
        self._state.pools[block.spec.name] = self._pool

    def _released(self, block: Released) -> None:
        assert self._pool is not None, "released addresses come behind their pool"
        identities = zip(block.uids, block.interfaces.rows(), strict=True)
        for address, identity in zip(block.addresses.rows(), identities, strict=True):
            self._pool.restore_released(address, identity)

    def _live(self, block: Live) -> None:
        pools = self._state.pools
        allocations = _allocations(block, self._state.shared)
        self._state.allocations.restore(allocations)
        for allocation in allocations:
            for held in allocation.addresses:
                pool = pools[held.terms.pool]
                pool.taken[held.value] = allocation.number
                pool.held += allocation.is_held

    def finish(self) -> None:
        """Make again what follows from the rest."""
        self._state.index_pools()
        self._state.allocations.index()
        for pool in self._state.pools.values():
            pool.settle()


def _allocations(live: Live, shared: Shared) -> list[Allocation]:
    moments = live.moments
    held = map(HeldAddress, _shared(live.terms, shared), live.values.rows())
    columns: tuple[Iterable[Any], ...] = (
        live.numbers,
        live.pod_names,
        live.pod_uids,
        _shared(live.nodes, shared),
        live.sandboxes,
        _shared(live.commons, shared),
        _grouped(held, live.counts),
        Column([sequence for sequence, _, _ in moments.table], moments.at).rows(),
        live.indexes,
        Column([since for _, since, _ in moments.table], moments.at).rows(),
        Column([bound for _, _, bound in moments.table], moments.at).rows(),
    )
    allocations = list(map(Allocation, *columns))
    assert len(allocations) == len(live.numbers), "every column has a row for each"
    return allocations


def _grouped(values: Iterator[T], counts: Sequence[int]) -> list[tuple[T, ...]]:
    """Tuples of so many values each."""
    if len(set(counts)) == 1 and counts[0]:  # mostly all have one address, or all have two
        return list(zip(*[values] * counts[0], strict=True))
    return [tuple(islice(values, count)) for count in counts]


def _shared(values: Column[H], shared: Shared) -> Iterator[H]:
    return Column([shared[value] for value in values.table], values.at).rows()
