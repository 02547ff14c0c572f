"""The rows that reads answer with. Their keys are a contract (DESIGN section 10)."""

from __future__ import annotations

import msgspec

from ipledger.events.facts import (
    Address,
    Application,
    AutoPool,
    Owner,
    Route,
    Selector,
)


class PoolRow(msgspec.Struct, frozen=True, rename="camel"):
    """A pool with its counts of addresses.

    `free` can be allocated now; `reserved` cannot, though nobody holds it. `auto` says whom the
    engine made it for, and `labels` are then Spiderpool's for such a pool. Of `gateway` and
    `routes`, those that follow the subnet are `inherited`.
    """

    name: str
    ip_version: int
    subnet: str
    total: int
    allocated: int
    held: int
    quarantined: int
    free: int
    reserved: int
    default: bool
    disable: bool
    gateway: str
    ips: tuple[str, ...]
    exclude_ips: tuple[str, ...] = msgspec.field(name="excludeIPs")
    routes: tuple[Route, ...]
    pod_affinity: Selector | None = None
    namespace_name: tuple[str, ...] = ()
    namespace_affinity: Selector | None = None
    node_name: tuple[str, ...] = ()
    node_affinity: Selector | None = None
    multus_name: tuple[str, ...] = ()
    terminating: bool = False
    auto: AutoPool | None = None
    labels: dict[str, str] = {}
    inherited: tuple[str, ...] = ()


class SubnetRow(msgspec.Struct, frozen=True, rename="camel"):
    """A subnet: of its `total` addresses `allocated` are in pools, `free` in none."""

    name: str
    ip_version: int
    subnet: str
    total: int
    allocated: int
    free: int
    pools: tuple[str, ...]
    gateway: str
    ips: tuple[str, ...]
    exclude_ips: tuple[str, ...] = msgspec.field(name="excludeIPs")
    routes: tuple[Route, ...]


class ReservationRow(msgspec.Struct, frozen=True, rename="camel"):
    """A reservation: `total` addresses it names, `allocated` of them held in spite of it."""

    name: str
    ip_version: int
    total: int
    allocated: int
    ips: tuple[str, ...]


class ApplicationRow(msgspec.Struct, frozen=True, rename="camel"):
    """A workload that the log knows of, and the auto pools that are its own."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    replicas: int
    start: int
    annotations: dict[str, str]
    pools: tuple[str, ...]

    def fact(self) -> Application:
        """The application as events have it."""
        return Application(
            self.api_version,
            self.kind,
            self.namespace,
            self.name,
            self.uid,
            self.replicas,
            self.start,
            self.annotations,
        )


class AllocationRow(msgspec.Struct, frozen=True, rename="camel"):
    """An allocation; `position` is where it was allocated.

    `since` is when, and `bound` when its last sandbox came, '' for the one that it was allocated
    for: RFC 3339.
    """

    id: str
    namespace: str
    pod: str
    uid: str
    node: str
    sandbox: str
    interface: str
    addresses: tuple[Address, ...]
    since: str
    position: str
    network: str = ""
    routes: tuple[Route, ...] = ()
    owner: Owner | None = None
    bound: str = ""


class QuarantineRow(msgspec.Struct, frozen=True, rename="camel"):
    """A quarantined address. `pool` is '' where it is in none by now, `seen` where nobody says."""

    address: str
    pool: str
    mac: str
    node: str
    allocation: str
    seen: str
    evidence: str
