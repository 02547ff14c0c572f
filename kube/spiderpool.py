"""Reading all that a cluster's Spiderpool has, and the pods that it is about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ipledger.kube.auto_takeover import ASKING, owners
from ipledger.projections.cluster import kinds
from ipledger.projections.cluster.kinds import Kind, O
from ipledger.projections.cluster.live.api import Api, ApiError
from ipledger.projections.cluster.live.pages import Decoding
from ipledger.projections.cluster.pods import Pod
from ipledger.projections.cluster.spiderpool import (
    SpiderEndpoint,
    SpiderIPPool,
    SpiderReservedIP,
    SpiderSubnet,
)
from ipledger.projections.cluster.workloads import Machine, Replicated, Workload

_PAGE_OBJECTS = "500"


@dataclass(frozen=True, slots=True)
class Spiderpool:
    """A cluster, as its API server had it while it was read. `unreadable` names objects.

    Of `workloads` there are those of the kinds that have auto pools.
    """

    pools: list[SpiderIPPool] = field(default_factory=list[SpiderIPPool])
    subnets: list[SpiderSubnet] = field(default_factory=list[SpiderSubnet])
    reservations: list[SpiderReservedIP] = field(default_factory=list[SpiderReservedIP])
    endpoints: list[SpiderEndpoint] = field(default_factory=list[SpiderEndpoint])
    pods: list[Pod] = field(default_factory=list[Pod])
    stateful_sets: list[Replicated] = field(default_factory=list[Replicated])
    machines: list[Machine] = field(default_factory=list[Machine])
    workloads: list[tuple[Kind[Workload], Workload]] = field(
        default_factory=list[tuple[Kind[Workload], Workload]]
    )
    unreadable: list[str] = field(default_factory=list[str])


async def read_spiderpool(api: Api) -> Spiderpool:
    """Read everything. Raises `ApiError` or `ApiUnreachableError`.

    A cluster without subnets or without KubeVirt has none of theirs.
    """
    unreadable: list[str] = []
    pools = await _all(api, kinds.POOLS, unreadable)
    return Spiderpool(
        pools=pools,
        subnets=await _all(api, kinds.SUBNETS, unreadable, optional=True),
        reservations=await _all(api, kinds.RESERVATIONS, unreadable, optional=True),
        stateful_sets=await _all(api, kinds.STATEFUL_SETS, unreadable),
        machines=await _all(api, kinds.MACHINES, unreadable, optional=True),
        workloads=await _with_auto_pools(api, pools, unreadable),
        pods=await _all(api, kinds.PODS, unreadable),
        endpoints=await _all(api, kinds.ENDPOINTS, unreadable),
        unreadable=unreadable,
    )


async def _with_auto_pools(
    api: Api, pools: list[SpiderIPPool], unreadable: list[str]
) -> list[tuple[Kind[Workload], Workload]]:
    """Those that nothing but an auto pool asks for: no kind is read in vain."""
    named = {(key.group, key.kind) for key in owners(pools)}
    found: list[tuple[Kind[Workload], Workload]] = []
    for kind in ASKING:
        if (kind.group, kind.name) in named:
            found += [(kind, one) for one in await _all(api, kind, unreadable)]
    return found


async def _all(
    api: Api, kind: Kind[O], unreadable: list[str], *, optional: bool = False
) -> list[O]:
    try:
        found, bad = await _list(api, kind, {"limit": _PAGE_OBJECTS})
    except ApiError as error:
        if optional and error.status == 404:
            return []
        if not error.is_expired:  # read too slowly for its pages
            raise
        found, bad = await _list(api, kind, {})
    unreadable += [f"{kind.name} {key}" for key in bad]
    return found


async def _list(api: Api, kind: Kind[O], query: dict[str, str]) -> tuple[list[O], list[object]]:
    decoding = Decoding(kind)
    found: list[O] = []
    unreadable: list[object] = []
    asked: dict[str, Any] = query
    while True:
        page = decoding.page(await api.call("GET", kind.path(), query=asked))
        found += page.objects
        unreadable += page.unreadable
        if not page.continues:
            return found, unreadable
        asked = {**query, "continue": page.continues}
