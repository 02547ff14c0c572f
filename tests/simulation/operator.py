"""Whoever changes pools, reservations and workloads, and frees what runtimes forgot."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from random import Random

from msgspec.structs import replace

from ipledger.engine.client import EngineUnavailableError, RefusedError
from ipledger.engine.commands import (
    AnyApply,
    ApplyApplication,
    ApplyPool,
    ApplyReservation,
    QuarantineAddress,
    ReleaseAllocation,
    RestoreAddress,
)
from ipledger.engine.queries import AllocationsWhere
from ipledger.events.facts import Application, PoolSpec, ReservationSpec
from ipledger.projections.rows import AllocationRow
from simulation.book import Book
from simulation.cluster import Cluster
from simulation.machines import Machine
from simulation.process import Process
from simulation.witness import Witness, WitnessedClient
from simulation.world import REALM

_PAUSE_S = 2.5


@dataclass(eq=False)
class Operator(Machine):
    """A machine with kubectl. `pools` are those of the run; `cart` has that many places."""

    witness: Witness = field(kw_only=True)
    book: Book = field(kw_only=True)
    pools: tuple[PoolSpec, ...] = field(kw_only=True)
    cart: int = 0
    is_collector: bool = False
    pace_s: float = _PAUSE_S
    client: WitnessedClient = field(init=False)
    cluster: Cluster | None = None
    """Where there is one, it has the StatefulSet, and the operator is its controller."""
    is_ready: asyncio.Event = field(default_factory=asyncio.Event)
    is_calm: bool = False

    def begin(self, process: Process, random: Random) -> None:
        """See `Machine`."""
        self.client = WitnessedClient(process.connection, REALM, timeout_s=5.0, random=random)
        self.client.witness = self.witness
        process.spawn(self._work(random))

    async def _work(self, random: Random) -> None:
        for spec in self.pools:
            await self._apply(ApplyPool(pool=spec))
        if self.cart:
            await self._scale(self.cart)
        self.is_ready.set()
        while not self.is_calm:
            await asyncio.sleep(random.random() * self.pace_s)
            if not self.is_calm:
                await self._change(random)

    async def _change(self, random: Random) -> None:
        if not self.is_collector and random.random() < 0.2:
            await self._quarantine(random)
            return
        kinds = ("pool", "pool", "reserve", "scale")
        collecting = ("collect", "collect", "collect") if self.is_collector else ()
        match random.choice((*kinds, *collecting)):
            case "pool":
                await self._apply(ApplyPool(pool=_changed(random, random.choice(self.pools))))
            case "reserve":
                await self._apply(ApplyReservation(reservation=_reserved(random, self.pools)))
            case "scale" if self.cart:
                if self.cluster is not None and random.random() < 0.3:
                    self.cluster.drop_set()
                else:
                    await self._scale(random.choice((0, *[self.cart] * 3)))
            case "collect":
                await self._collect(random)
            case _:
                pass

    async def _quarantine(self, random: Random) -> None:
        """Somebody else seems to have a pool's first address, or does not any more."""
        address = random.choice(self.pools).ips[0].partition("-")[0]
        with contextlib.suppress(RefusedError, EngineUnavailableError):
            if random.random() < 0.4:
                await self.client.quarantine(QuarantineAddress(address=address))
            else:
                await self.client.restore_address(RestoreAddress(address=address))

    async def _scale(self, size: int) -> None:
        """The StatefulSet has that many places from here on."""
        if self.cluster is None:
            await self._apply(ApplyApplication(application=_cart(size)))
        else:
            self.cluster.scale(size)
            await self.tell_set()

    async def tell_set(self) -> None:
        """What the cluster says of the StatefulSet, if it is there: a controller tells it."""
        application = self.cluster.application() if self.cluster is not None else None
        if application is not None:
            await self._apply(ApplyApplication(application=application))

    async def _apply(self, command: AnyApply) -> None:
        """Until it is done or refused; not for ever."""
        for _ in range(4):
            self.world.counts["apply"] += 1
            self.world.note(f"{self.name}: {command}")
            try:
                answer = await self.client.apply(command)
            except RefusedError as error:
                self.world.note(f"{self.name}: refused: {error}")
                return
            except EngineUnavailableError as error:
                self.world.note(f"{self.name}: {error}")
            else:
                self.world.note(f"{self.name}: {answer.outcome}")
                return

    async def _collect(self, random: Random) -> None:
        """Free what sandboxes have that are gone, as it was a while ago: a picture grows old."""
        try:
            pages = self.client.allocations(AllocationsWhere())
            seen = [row async for page in pages for row in page.allocations]
        except EngineUnavailableError as error:
            self.world.note(f"{self.name}: {error}")
            return
        await asyncio.sleep(random.random() * 3)
        for row in random.sample(seen, len(seen)):
            if (row.sandbox, row.interface) in self.book.deleted:
                await self._free(row)

    async def _free(self, row: AllocationRow) -> None:
        self.world.counts["collect"] += 1
        self.world.note(f"{self.name}: frees {row.id} of {row.sandbox}")
        command = ReleaseAllocation(
            allocation=row.id, sandbox=row.sandbox, evidence="the sandbox is gone"
        )
        try:
            await self.client.release_allocation(command)
        except (RefusedError, EngineUnavailableError) as error:
            self.world.note(f"{self.name}: {error}")


def _cart(size: int) -> Application:
    return Application("apps/v1", "StatefulSet", "shop", "cart", "cart-uid", replicas=size)


def _changed(random: Random, spec: PoolSpec) -> PoolSpec:
    """The pool as it was, or less or more of it, or disabled."""
    match random.choice(("same", "less", "less", "disabled", "more")):
        case "less":
            return replace(spec, ips=spec.ips[: random.randint(1, len(spec.ips))])
        case "disabled":
            return replace(spec, disable=True)
        case "more" if spec.ip_version == 4:
            base = spec.subnet.rpartition(".")[0]
            return replace(spec, ips=(*spec.ips, f"{base}.{random.randint(2, 30)}"))
        case _:
            return spec


def _reserved(random: Random, pools: tuple[PoolSpec, ...]) -> ReservationSpec:
    spec = random.choice(pools)
    address = spec.ips[0].partition("-")[0] if random.random() < 0.5 else "10.200.0.1"
    return ReservationSpec(f"r{random.randint(1, 2)}", 6 if ":" in address else 4, ips=(address,))
