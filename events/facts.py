"""The values that events are made of: frozen facts, as text, exactly as they are stored.

JSON keys are camelCase (Kubernetes' spelling). Fields with a default are left out of the
stored form when they hold it, so a field added later costs old events nothing.
"""

from __future__ import annotations

import msgspec


class Fact(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """Base of all stored values: frozen, hashable, camelCase in JSON."""


class Route(Fact, frozen=True):
    """A route of an interface: destination prefix and next hop, as CNI writes them."""

    dst: str
    gw: str


class PoolSpec(Fact, frozen=True):
    """A pool as it was applied, in Spiderpool's words (SpiderIPPool.spec plus its name).

    `ips` and `exclude_ips` hold single addresses or inclusive ranges `a-b`. The addresses of
    the pool are `ips` minus `exclude_ips`. `reuse_hold` is in seconds.
    """

    name: str
    ip_version: int
    subnet: str
    ips: tuple[str, ...] = ()
    exclude_ips: tuple[str, ...] = msgspec.field(default=(), name="excludeIPs")
    gateway: str = ""
    routes: tuple[Route, ...] = ()
    default: bool = False
    disable: bool = False


class Pod(Fact, frozen=True):
    """The pod an allocation is for. Without Kubernetes `uid` is the CNI container id."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Address(Fact, frozen=True, omit_defaults=False):
    """One address of an allocation: its pool, `address/prefix length`, and gateway or ''."""

    pool: str
    address: str
    gateway: str = ""

    @property
    def ip(self) -> str:
        """The address without its prefix length."""
        return self.address.partition("/")[0]


class Candidate(Fact, frozen=True):
    """A pool that was considered for an allocation, and what became of it.

    `verdict` is a word of `Verdict`; `detail` says it with figures for a reader.
    """

    pool: str
    ip_version: int
    verdict: str
    detail: str = ""


class Verdict:
    """The words a `Candidate.verdict` may hold."""

    CHOSEN = "chosen"
    NOT_REACHED = "not-reached"
    EXHAUSTED = "exhausted"
    DISABLED = "disabled"
    UNKNOWN = "unknown"
    WRONG_IP_VERSION = "wrong-ip-version"
