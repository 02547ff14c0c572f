"""The custom resources as the controller sees them, and what it asks of the engine for each.

An object's specification is what is wanted; the log is what is (ADR 60).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from ipledger.engine.answers import Applied
from ipledger.engine.client import EngineClient
from ipledger.engine.refusals import Reason
from ipledger.engine.subnets import as_asked
from ipledger.events.facts import PoolSpec, ReservationSpec, SubnetSpec
from ipledger.kube import status
from ipledger.projections.cluster import kinds
from ipledger.projections.cluster.kinds import Kind
from ipledger.projections.cluster.spiderpool import Resource
from ipledger.projections.state import State

FINALIZER = "spiderpool.spidernet.io"
"""Keeps an object until what it stands for is gone from the log; Spiderpool's own."""

Spec: TypeAlias = PoolSpec | SubnetSpec | ReservationSpec


@dataclass(frozen=True, slots=True)
class Face:
    """A kind of custom resource: where the log has it, how it is deleted, what its status is.

    `delete` takes a name and the traceparent of whoever asks.
    """

    kind: Kind[Resource]
    names: Callable[[State], Iterable[str]]
    spec: Callable[[State, str], Spec | None]
    delete: Callable[[EngineClient, str, str], Awaitable[Applied]]
    unknown: Reason
    status: Callable[[State, str], dict[str, Any]]


def _kind(kind: Kind[Any]) -> Kind[Resource]:
    return Kind(kind.api_version, kind.name, kind.plural, Resource, is_namespaced=False)


def _pool_spec(state: State, name: str) -> PoolSpec | None:
    """A pool as an object says it: what it has from its subnet follows that (ADR 120)."""
    pool = state.pools.get(name)
    return as_asked(pool.spec) if pool else None


async def _end_pool(client: EngineClient, name: str, parent: str) -> Applied:
    return await client.delete_pool(name, parent, when_empty=True)


POOLS = Face(
    _kind(kinds.POOLS),
    lambda state: state.pools,
    _pool_spec,
    _end_pool,
    Reason.POOL_UNKNOWN,
    status.pool_status,
)
SUBNETS = Face(
    _kind(kinds.SUBNETS),
    lambda state: state.subnets,
    lambda state, name: state.subnets.get(name),
    EngineClient.delete_subnet,
    Reason.SUBNET_UNKNOWN,
    status.subnet_status,
)
RESERVATIONS = Face(
    _kind(kinds.RESERVATIONS),
    lambda state: state.reservations,
    lambda state, name: state.reservations.get(name),
    EngineClient.delete_reservation,
    Reason.RESERVATION_UNKNOWN,
    status.reservation_status,
)
