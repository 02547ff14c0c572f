"""The routes of an interface: from low to high priority, one per destination."""

from __future__ import annotations

from collections.abc import Iterator

from ipledger.events.addresses import parse_ip
from ipledger.events.facts import Route
from ipledger.projections.pool import Pool
from ipledger.projections.ranges import network

_DEFAULT_DESTINATION = {4: "0.0.0.0/0", 6: "::/0"}


def routes_of(
    pools: tuple[Pool, ...], by_pod: tuple[Route, ...], *, clean_gateway: bool
) -> tuple[Route, ...]:
    """Routes for addresses from these pools: the pool's, its gateway's, then the pod's own.

    A pod's route goes to the interface that has its next hop in a pool's subnet, and nowhere
    else. The default route comes from the gateway unless `clean_gateway`.
    """
    chosen: dict[str, Route] = {}
    for pool in pools:
        for route in (*pool.spec.routes, *_default(pool, clean_gateway), *_reached(pool, by_pod)):
            chosen[route.dst] = route
    return tuple(chosen.values())


def _default(pool: Pool, clean_gateway: bool) -> Iterator[Route]:
    if pool.spec.gateway and not clean_gateway:
        yield Route(_DEFAULT_DESTINATION[pool.spec.ip_version], pool.spec.gateway)


def _reached(pool: Pool, by_pod: tuple[Route, ...]) -> Iterator[Route]:
    if not by_pod:
        return
    first, last = network(pool.spec.subnet)
    for route in by_pod:
        version, gateway = parse_ip(route.gw)
        if version == pool.spec.ip_version and first <= gateway <= last:
            yield route
