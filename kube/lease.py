"""Which of several controllers works: a Lease of the API server, as Kubernetes' clients hold one.

For liveness alone: two that work do no harm (ADR 60), they only do everything twice. So whoever
works goes on until it reads that another has the lease; a clock decides only when somebody who
waits may take it, and that clock is its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from ipledger.projections.cluster.kinds import LEASES
from ipledger.projections.cluster.leases import Lease
from ipledger.projections.cluster.live.api import Api, ApiError, ApiUnreachableError

_log = logging.getLogger(__name__)

LEASE_S = 15
RENEW_S = 5.0
_TIMEOUT_S = 5.0


class LeaseLostError(Exception):
    """Another has the lease; the message says which one."""


class LeaseName(NamedTuple):
    """Where a lease is."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(slots=True)
class Election:
    """One candidate for the lease `namespace/name`.

    `identity` is this candidate's alone, also after a restart. `now` tells the time as Kubernetes
    writes it with microseconds, `clock` seconds that only go on; who waits takes a lease that did
    not change for as long as it says by `clock`. `random` gives numbers from 0 to 1.
    """

    api: Api
    namespace: str
    name: str
    identity: str
    now: Callable[[], str]
    clock: Callable[[], float]
    random: Callable[[], float]
    lease_s: int = LEASE_S
    renew_s: float = RENEW_S
    holder: str = field(default="", init=False)
    _seen: Lease | None = field(default=None, init=False)
    _seen_at: float = field(default=0.0, init=False)

    async def acquire(self) -> None:
        """Return once the lease is this candidate's."""
        while not await self._tried():
            await self._pause()
        _log.info("lease %s/%s is held by %s, which is this one", *self._where)

    async def keep(self) -> None:
        """Renew the lease, and return once another has it. An API server that is away changes
        nothing: nobody can take the lease there either."""
        while self.holder == self.identity:
            await self._pause()
            await self._tried()
        _log.warning("lease %s/%s is held by %s now", *self._where)

    async def release(self) -> None:
        """Give the lease up, so that nobody has to wait for its end."""
        if self._seen is not None and self.holder == self.identity:
            try:
                await self._write(self._seen, self._spec("", 1))
            except (ApiError, ApiUnreachableError) as error:
                _log.info("the lease could not be given up: %s", error)

    @property
    def _where(self) -> tuple[str, str, str]:
        return self.namespace, self.name, self.holder

    async def _pause(self) -> None:
        await asyncio.sleep(self.renew_s * (0.75 + self.random() / 4))

    async def _tried(self) -> bool:
        """Take or renew the lease if it is free or ours. Whether it is ours, as far as is known."""
        try:
            found = await self._read()
            if found is None:
                await self._create()
            elif self._is_free(found):
                await self._write(found, self._spec(self.identity, self.lease_s))
        except ApiError as error:
            if error.status != 409:  # another was quicker; the next read says who
                _log.warning("lease %s/%s: %s", self.namespace, self.name, error)
        except ApiUnreachableError as error:
            _log.warning("lease %s/%s: %s", self.namespace, self.name, error)
        return self.holder == self.identity

    async def _read(self) -> Lease | None:
        path = LEASES.path(self.namespace, self.name)
        try:
            answer = await self.api.call("GET", path, timeout_s=_TIMEOUT_S)
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return self._see(answer)

    def _see(self, answer: bytes) -> Lease:
        try:
            found = msgspec.json.decode(answer, type=Lease)
        except msgspec.DecodeError as error:
            raise ApiUnreachableError(f"a lease that cannot be read: {error}") from error
        before = self._seen.metadata.resource_version if self._seen else ""
        if found.metadata.resource_version != before:
            self._seen_at = self.clock()
        self._seen, self.holder = found, found.spec.holder_identity or ""
        return found

    def _is_free(self, found: Lease) -> bool:
        lasts_s = found.spec.lease_duration_seconds or 0
        return self.holder in ("", self.identity) or self.clock() >= self._seen_at + lasts_s

    def _spec(self, holder: str, lasts_s: int) -> dict[str, Any]:
        now, before = self.now(), self._seen.spec if self._seen else None
        goes_on = before is not None and before.holder_identity == holder
        transitions = (before.lease_transitions or 0) if before else 0
        taken = not goes_on and before is not None and bool(holder)
        return {
            "holderIdentity": holder,
            "leaseDurationSeconds": lasts_s,
            "acquireTime": before.acquire_time if goes_on and before else now,
            "renewTime": now,
            "leaseTransitions": transitions + taken,
        }

    async def _create(self) -> None:
        spec = self._spec(self.identity, self.lease_s)
        body = {**self._head({"name": self.name, "namespace": self.namespace}), "spec": spec}
        path = LEASES.path(self.namespace)
        self._see(await self.api.call("POST", path, body, timeout_s=_TIMEOUT_S))

    async def _write(self, found: Lease, spec: dict[str, Any]) -> None:
        """Replace the very version that was read, and no other."""
        version = found.metadata.resource_version
        named = {"name": self.name, "namespace": self.namespace, "resourceVersion": version}
        body = {**self._head(named), "spec": spec}
        path = LEASES.path(self.namespace, self.name)
        self._see(await self.api.call("PUT", path, body, timeout_s=_TIMEOUT_S))

    def _head(self, metadata: dict[str, str]) -> dict[str, Any]:
        return {"apiVersion": LEASES.api_version, "kind": LEASES.name, "metadata": metadata}
