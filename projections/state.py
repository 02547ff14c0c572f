"""The state of a realm at a position: everything that deciding and asking needs.

`evolve` changes it, and nothing else does.
"""

from __future__ import annotations

import copy
from collections import OrderedDict

from ipledger.events.facts import Application, Candidate, ReservationSpec, SubnetSpec
from ipledger.events.position import START, Position
from ipledger.events.types import AddressQuarantined, CheckpointSigned
from ipledger.projections.allocations import Allocation, Allocations, Identity
from ipledger.projections.applications import ApplicationKey
from ipledger.projections.directory import Directory
from ipledger.projections.fence import EndedAttachments
from ipledger.projections.image import Frozen, Realm, digest
from ipledger.projections.pool import Pool
from ipledger.projections.ranges import Intervals, contains, merged, parse_ranges
from ipledger.projections.shared import Shared

REFUSALS_MAX = 65_536
"""How many identities' last refusal is remembered, so that a retry is not recorded again."""


class State:
    """Everything that deciding and asking needs. A function of the log (invariant 5)."""

    __slots__ = (
        "allocated_ever",
        "allocations",
        "applications",
        "checkpoint",
        "directory",
        "ended",
        "engine",
        "epoch",
        "events_ever",
        "pools",
        "position",
        "quarantined",
        "refusals",
        "reservations",
        "reserved",
        "shared",
        "subnets",
    )

    def __init__(self) -> None:
        self.position: Position = START
        self.epoch = 0
        self.engine = ""
        self.checkpoint: CheckpointSigned | None = None
        self.pools: dict[str, Pool] = {}
        self.directory = Directory()
        self.subnets: dict[str, SubnetSpec] = {}
        self.reservations: dict[str, ReservationSpec] = {}
        self.quarantined: dict[tuple[int, int], AddressQuarantined] = {}
        self.reserved: dict[int, Intervals] = {4: (), 6: ()}
        self.allocations = Allocations()
        self.applications: dict[ApplicationKey, Application] = {}
        self.allocated_ever = 0
        self.events_ever = 0
        self.ended = EndedAttachments()
        self.refusals: OrderedDict[Identity, str] = OrderedDict()
        self.shared = Shared()

    def holder(self, ip_version: int, address: int) -> Allocation | None:
        """Who holds an address."""
        pool = self.pool_of(ip_version, address)
        number = pool.taken.get(address) if pool else None
        return None if number is None else self.allocations.numbered(number)

    def pool_of(self, ip_version: int, address: int) -> Pool | None:
        """The pool that an address belongs to; there is one at most (invariant 3)."""
        for pool in self.pools.values():
            if pool.spec.ip_version == ip_version and (
                address in pool.taken or contains(pool.usable, address)
            ):
                return pool
        return None

    def quarantined_in(self, pool: Pool) -> int:
        """How many addresses of a pool are quarantined; one that is held counts as held."""
        return sum(
            ip_version == pool.spec.ip_version
            and contains(pool.usable, address)
            and address not in pool.taken
            for ip_version, address in self.quarantined
        )

    def draft(self) -> State:
        """A state with resources of its own, for trying changes of them; all else is shared.

        The pools are the same objects: who changes one puts another in its place.
        """
        mine = copy.copy(self)
        mine.pools, mine.directory = dict(self.pools), self.directory.copied()
        mine.subnets, mine.reservations = dict(self.subnets), dict(self.reservations)
        mine.applications = dict(self.applications)
        return mine

    def digest(self) -> str:
        """Hash of all that decides what happens next; equal at equal positions (invariant 5)."""
        return digest(self.frozen())

    def frozen(self) -> Frozen:
        """The state as it is now, at the cost of copying some lists."""
        realm = Realm(
            self.position,
            self.epoch,
            self.engine,
            self.events_ever,
            self.allocated_ever,
            list(self.subnets.values()),
            list(self.reservations.values()),
            list(self.applications.values()),
            self.checkpoint,
            list(self.quarantined.values()),
        )
        return Frozen(
            realm,
            [pool.frozen() for pool in self.pools.values()],
            self.ended.frozen(),
            list(self.refusals),
            list(self.refusals.values()),
            list(self.allocations.all()),
        )

    def index_pools(self) -> None:
        """Make again what follows from the specifications of the pools."""
        self.directory = Directory()
        for pool in self.pools.values():
            self.directory.enter(pool.spec, None)
        for pool in self.pools.values():
            if pool.terminating:
                self.directory.terminate(pool.spec)

    def index_reservations(self) -> None:
        """Make again what follows from the reservations; the pools are told."""
        for ip_version in self.reserved:
            self.index_reserved(ip_version)

    def index_reserved(self, ip_version: int) -> None:
        """Make again what follows from the reservations of an IP version; its pools are told.

        Reservations may overlap, so that each pool is told what all of them make together. What is
        quarantined is to a pool as if it were reserved.
        """
        reserved = [
            interval
            for reservation in self.reservations.values()
            if reservation.ip_version == ip_version
            for interval in parse_ranges(reservation.ips, ip_version)
        ]
        reserved += [(value, value) for of, value in self.quarantined if of == ip_version]
        self.reserved[ip_version] = merged(reserved)
        for pool in self.pools.values():
            if pool.spec.ip_version == ip_version:
                pool.reserve(self.reserved[ip_version])


def refusal_key(reason: str, decision: tuple[Candidate, ...]) -> str:
    """What makes one refusal the same as the last: its reason and each pool's verdict."""
    return " ".join([reason, *(f"{c.pool}={c.verdict}" for c in decision)])
