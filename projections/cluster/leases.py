"""Leases, by which several processes agree who works."""

from __future__ import annotations

from ipledger.projections.cluster.metadata import Object, Shape


class LeaseSpec(Shape, frozen=True):
    """Who holds it, for how many seconds after it was last renewed. '' or None is nobody."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Lease(Object, frozen=True):
    """A lease."""

    spec: LeaseSpec = LeaseSpec()
