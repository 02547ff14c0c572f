"""`evolve`: what an event makes true, and the one way a state changes.

Rules of this file: `evolve` answers "what is now true" and never refuses, asks or looks at a
clock; a rule here would judge history again. A failed assertion means that the log contradicts
an invariant of DESIGN section 12, or that this program is wrong: the state is then half changed
and must be thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from netaddr import AddrFormatError

from ipledger.events.addresses import BITS, parse_ip
from ipledger.events.facts import Address
from ipledger.events.position import Position
from ipledger.events.types import (
    AddressesAllocated,
    AddressesHeld,
    AddressesReleased,
    AddressQuarantined,
    AddressRestored,
    AllocationImported,
    AllocationRebound,
    AllocationRefused,
    AnyEvent,
    ApplicationCreated,
    ApplicationDeleted,
    ApplicationUpdated,
    AttachmentDeleted,
    CheckpointSigned,
    Event,
    LeadershipTaken,
    PoolCreated,
    PoolDeleted,
    PoolTerminating,
    PoolUpdated,
    ReleaseReason,
    ReservationCreated,
    ReservationDeleted,
    ReservationUpdated,
    SubnetCreated,
    SubnetDeleted,
    SubnetUpdated,
)
from ipledger.projections.allocations import Allocation, Common, HeldAddress, Terms, number_of
from ipledger.projections.applications import application_key, key_of
from ipledger.projections.pool import Pool
from ipledger.projections.state import REFUSALS_MAX, State, refusal_key


class Moment(msgspec.Struct, gc=False):
    """Where and when an event stands: commit, index, and the commit's time in microseconds."""

    sequence: int
    index: int
    time: int


class ContradictionError(Exception):
    """The event at an index of a commit contradicts the state."""

    def __init__(self, index: int, error: Exception) -> None:
        super().__init__(f"event {index} contradicts the state: {error!r}")
        self.index = index
        self.error = error


def evolve(state: State, event: AnyEvent, at: Moment) -> None:
    """Make an event true in the state. Only a fold or the commit loop calls this."""
    _APPLY[type(event)](state, event, at)
    state.ended.forget()
    state.events_ever += 1
    state.position = Position(at.sequence, at.index)


def evolve_all(
    state: State,
    events: Sequence[AnyEvent],
    sequence: int,
    time: int,
    before: Callable[[State, AnyEvent], None] | None = None,
) -> None:
    """Make the events of a commit true, one after another: `evolve`, at less cost.

    `before` is given each event with the state before it.

    Raises `ContradictionError`; the state is then half changed.
    """
    at, apply = Moment(sequence, -1, time), _APPLY
    try:
        for at.index, event in enumerate(events):
            if before is not None:
                before(state, event)
            apply[type(event)](state, event, at)
    except (AssertionError, LookupError, ValueError, AddrFormatError) as error:
        raise ContradictionError(at.index, error) from error
    state.ended.forget()
    state.events_ever += len(events)
    state.position = Position(sequence, at.index)


def _leadership_taken(state: State, event: LeadershipTaken, at: Moment) -> None:
    assert event.epoch > state.epoch, "epochs rise"
    state.epoch = event.epoch
    state.engine = event.engine


def _pool_created(state: State, event: PoolCreated, at: Moment) -> None:
    assert event.pool.name not in state.pools
    state.pools[event.pool.name] = Pool(event.pool, state.reserved[event.pool.ip_version])
    state.directory.enter(event.pool, None)


def _pool_updated(state: State, event: PoolUpdated, at: Moment) -> None:
    pool = state.pools[event.pool.name]
    assert not pool.terminating, "a pool that terminates does not change"
    state.directory.enter(event.pool, pool.spec)
    pool.redefine(event.pool, state.reserved[event.pool.ip_version])


def _pool_terminating(state: State, event: PoolTerminating, at: Moment) -> None:
    pool = state.pools[event.name]
    pool.terminating = True
    state.directory.terminate(pool.spec)


def _pool_deleted(state: State, event: PoolDeleted, at: Moment) -> None:
    pool = state.pools.pop(event.name)
    assert not pool.taken, "invariant 3: a pool change never drops a held address"
    state.directory.leave(pool.spec)


def _subnet_created(state: State, event: SubnetCreated, at: Moment) -> None:
    assert event.subnet.name not in state.subnets
    state.subnets[event.subnet.name] = event.subnet


def _subnet_updated(state: State, event: SubnetUpdated, at: Moment) -> None:
    assert event.subnet.name in state.subnets
    state.subnets[event.subnet.name] = event.subnet


def _subnet_deleted(state: State, event: SubnetDeleted, at: Moment) -> None:
    del state.subnets[event.name]


def _reservation_created(state: State, event: ReservationCreated, at: Moment) -> None:
    assert event.reservation.name not in state.reservations
    state.reservations[event.reservation.name] = event.reservation
    state.index_reserved(event.reservation.ip_version)


def _reservation_updated(state: State, event: ReservationUpdated, at: Moment) -> None:
    assert event.reservation.name in state.reservations
    state.reservations[event.reservation.name] = event.reservation
    state.index_reserved(event.reservation.ip_version)


def _reservation_deleted(state: State, event: ReservationDeleted, at: Moment) -> None:
    reservation = state.reservations.pop(event.name)
    state.index_reserved(reservation.ip_version)


def _addresses_allocated(state: State, event: AddressesAllocated, at: Moment) -> None:
    allocation = _allocated(state, event, at)
    pools = state.pools
    for held in allocation.addresses:
        pools[held.terms.pool].take(held.value, allocation.number)


def _allocation_imported(state: State, event: AllocationImported, at: Moment) -> None:
    allocation = _allocated(state, event, at)
    for held in allocation.addresses:
        pool = state.pools[held.terms.pool]
        pool.adopt(held.value, allocation.number)
        pool.held += allocation.is_held


def _allocated(
    state: State, event: AddressesAllocated | AllocationImported, at: Moment
) -> Allocation:
    shared, pod, interface = state.shared, event.pod, event.interface
    common = Common(pod.namespace, event.owner, interface, event.network, event.slot, event.routes)
    addresses = event.addresses
    if len(addresses) == 1:  # as most have
        held: tuple[HeldAddress, ...] = (_held(state, addresses[0]),)
    else:
        held = tuple([_held(state, fact) for fact in addresses])
    allocation = Allocation(
        number_of(event.allocation),
        pod.name,
        pod.uid,
        shared[event.node],
        event.sandbox,
        shared[common],
        held,
        at.sequence,
        at.index,
        at.time,
        at.time,
    )
    state.allocations.add(allocation)
    state.allocated_ever += 1
    if state.refusals:
        state.refusals.pop((pod.uid, interface), None)
    return allocation


def _held(state: State, fact: Address) -> HeldAddress:
    """The address of an event, on its own terms: they may differ from those of its pool by now."""
    ip, _, length = fact.address.partition("/")
    ip_version, value = parse_ip(ip)
    terms = state.pools[fact.pool].terms
    if terms.gateway != fact.gateway or terms.prefix_length != int(length):
        assert 0 <= int(length) <= BITS[ip_version], "a prefix length"
        terms = state.shared[Terms(fact.pool, ip_version, int(length), fact.gateway)]
    return HeldAddress(terms, value)


def _allocation_rebound(state: State, event: AllocationRebound, at: Moment) -> None:
    pod = event.pod
    if pod is None:
        old, new = state.allocations.move(event.allocation, event.sandbox, at.time)
    else:
        node = state.shared[event.node]
        old, new = state.allocations.pass_on(event.allocation, event.sandbox, pod, node, at.time)
    _changed(state, old, new, at)
    if state.refusals:
        state.refusals.pop((new.pod_uid, new.common.interface), None)


def _addresses_held(state: State, event: AddressesHeld, at: Moment) -> None:
    old, new = state.allocations.hold(event.allocation)
    _changed(state, old, new, at)


def _changed(state: State, old: Allocation, new: Allocation, at: Moment) -> None:
    """An allocation has another form, and its old attachment is over."""
    if not old.sandbox or not new.sandbox:
        for held in new.addresses:
            state.pools[held.terms.pool].held += new.is_held - old.is_held
    if old.sandbox:
        state.ended.end((old.sandbox, old.common.interface), at.time)


def _application_created(state: State, event: ApplicationCreated, at: Moment) -> None:
    assert key_of(event.application) not in state.applications
    state.applications[key_of(event.application)] = event.application


def _application_updated(state: State, event: ApplicationUpdated, at: Moment) -> None:
    assert key_of(event.application) in state.applications
    state.applications[key_of(event.application)] = event.application


def _application_deleted(state: State, event: ApplicationDeleted, at: Moment) -> None:
    key = application_key(event.api_version, event.kind, event.namespace, event.name)
    del state.applications[key]


def _addresses_released(state: State, event: AddressesReleased, at: Moment) -> None:
    allocation = state.allocations.remove(event.allocation)
    interface, pools = allocation.common.interface, state.pools
    identity = allocation.pod_uid, interface
    for held in allocation.addresses:
        pool = pools[held.terms.pool]
        pool.give_back(held.value, identity)
        if not allocation.sandbox:
            pool.held -= 1
    if allocation.sandbox and event.reason != ReleaseReason.CONFLICT:
        state.ended.end((allocation.sandbox, interface), at.time)  # else it goes on with the next


def _address_quarantined(state: State, event: AddressQuarantined, at: Moment) -> None:
    address = parse_ip(event.address)
    assert address not in state.quarantined, "it is quarantined once"
    state.quarantined[address] = event
    state.index_reserved(address[0])


def _address_restored(state: State, event: AddressRestored, at: Moment) -> None:
    address = parse_ip(event.address)
    del state.quarantined[address]
    state.index_reserved(address[0])


def _attachment_deleted(state: State, event: AttachmentDeleted, at: Moment) -> None:
    state.ended.end((event.sandbox, event.interface), at.time)


def _allocation_refused(state: State, event: AllocationRefused, at: Moment) -> None:
    identity = (event.pod.uid, event.interface)
    state.refusals.pop(identity, None)
    state.refusals[identity] = refusal_key(event.reason, event.decision)
    if len(state.refusals) > REFUSALS_MAX:
        state.refusals.popitem(last=False)


def _checkpoint_signed(state: State, event: CheckpointSigned, at: Moment) -> None:
    assert event.sequence == at.sequence - 1, "a checkpoint is of the commit before it"
    state.checkpoint = event


_APPLY: dict[type[Event], Callable[[State, Any, Moment], None]] = {
    LeadershipTaken: _leadership_taken,
    PoolCreated: _pool_created,
    PoolUpdated: _pool_updated,
    PoolDeleted: _pool_deleted,
    PoolTerminating: _pool_terminating,
    SubnetCreated: _subnet_created,
    SubnetUpdated: _subnet_updated,
    SubnetDeleted: _subnet_deleted,
    ReservationCreated: _reservation_created,
    ReservationUpdated: _reservation_updated,
    ReservationDeleted: _reservation_deleted,
    AddressesAllocated: _addresses_allocated,
    AllocationImported: _allocation_imported,
    AllocationRebound: _allocation_rebound,
    AddressesHeld: _addresses_held,
    AddressesReleased: _addresses_released,
    ApplicationCreated: _application_created,
    ApplicationUpdated: _application_updated,
    ApplicationDeleted: _application_deleted,
    AddressQuarantined: _address_quarantined,
    AddressRestored: _address_restored,
    AttachmentDeleted: _attachment_deleted,
    AllocationRefused: _allocation_refused,
    CheckpointSigned: _checkpoint_signed,
}
