"""A case: all that is known of one allocation, and what follows of it, as the judge asks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ipledger.events.clock import parse_time
from ipledger.events.facts import Application
from ipledger.gc.claims import Claim
from ipledger.gc.settings import Settings
from ipledger.projections.cluster.nodes import Node
from ipledger.projections.cluster.pods import Pod
from ipledger.projections.fixed import exists

SECOND = 1_000_000
"""In microseconds."""

_GRACE_DEFAULT_S = 30  # what an API server fills in


@dataclass(frozen=True)
class Case:
    """All that is known of one allocation. Times are microseconds since the Unix epoch.

    `pod` is what has its pod's name now, `node` the allocation's node, `application` what the log
    knows of the pod's owner; each None if there is none. `seen` is when the pod was first seen as
    it is, for a pod whose status does not say when it ended.
    """

    claim: Claim
    pod: Pod | None
    node: Node | None
    application: Application | None
    settings: Settings
    now: int
    seen: int = 0

    @property
    def own(self) -> Pod | None:
        """The pod, if it is the very one of the allocation."""
        return self.pod if self.pod is not None and self.pod.has_uid(self.claim.pod.uid) else None

    @property
    def phase(self) -> str:
        """The phase of the very pod."""
        return self.own.status.phase if self.own else ""

    @property
    def is_terminating(self) -> bool:
        """Whether the very pod is being deleted."""
        return self.own is not None and self.own.metadata.is_terminating

    @property
    def is_alive(self) -> bool:
        """Whether it is the very pod, has not ended, and is not being deleted."""
        return self.own is not None and not self.is_terminating and not self.has_ended

    @property
    def counts_as_used(self) -> bool:
        """Whether a running pod uses the addresses: a status without any may be only late."""
        return self.has_ips or not self.settings.running_without_ips

    @property
    def is_within_grace(self) -> bool:
        """Whether it is being deleted and its grace is not over."""
        return self.is_terminating and self.now < self.deleted_at

    @property
    def is_torn_down(self) -> bool:
        """Whether it ran and its kubelet says that it has no address any more."""
        return self.phase == "Running" and not self.has_ips

    @property
    def has_ended(self) -> bool:
        """Whether the very pod's containers have all ended, for good."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def has_just_ended(self) -> bool:
        """Whether it has ended and its grace is not over: its DEL may still come."""
        return self.has_ended and self.now < self.ended_at

    @property
    def has_ips(self) -> bool:
        """Whether its kubelet says that it has an address."""
        return self.own is not None and any(one.ip for one in self.own.status.pod_ips)

    @property
    def place_exists(self) -> bool:
        """Whether another pod will come to take its addresses."""
        place = self.claim.place
        return place is not None and exists(place, self.application)

    @property
    def old_at(self) -> int:
        """When the allocation is old enough to be judged a zombie."""
        return self.claim.bound + _micros(self.settings.min_age_s)

    @property
    def is_node_ready(self) -> bool:
        """Whether the node is there and its kubelet is heard."""
        return self.node is not None and self.node.is_ready

    @property
    def is_collected(self) -> bool:
        """Whether terminating pods on such a node may be collected."""
        if self.is_node_ready:
            return self.settings.terminating_on_ready_node
        return self.settings.terminating_on_not_ready_node

    @property
    def is_reported_running(self) -> bool:
        """Whether a kubelet that is heard says that a container may run."""
        if self.own is None or not self.is_node_ready or not self.has_ips:
            return False
        statuses = self.own.status.container_statuses
        return not statuses or not all(status.state.terminated for status in statuses)

    @cached_property
    def deleted_at(self) -> int:
        """When a terminating pod's grace is over: its deletion timestamp has the grace in it."""
        assert self.own is not None
        deleted = _micros_of(self.own.metadata.deletion_timestamp or "") or self.now
        return deleted + _micros(self.settings.additional_grace_s)

    @cached_property
    def ended_at(self) -> int:
        """When the grace of a pod that has ended is over; a deletion's, if that is sooner."""
        assert self.own is not None
        given = self.own.spec.termination_grace_period_seconds
        grace_s = _GRACE_DEFAULT_S if given is None else given
        ended = _micros_of(self.own.status.finished_at) or self.seen or self.now
        over = ended + _micros(grace_s + self.settings.additional_grace_s)
        return min(over, self.deleted_at) if self.is_terminating else over

    def __str__(self) -> str:
        """What was seen of the pod, for an auditor."""
        pod, name = self.pod, str(self.claim.pod)
        if pod is None:
            return f"no pod {name}"
        if self.own is None:
            return f"pod {name} has the UID {pod.uid}"
        node = (
            "is gone" if self.node is None else "is ready" if self.node.is_ready else "is not ready"
        )
        parts = [f"pod {name} is {pod.status.phase or 'without a phase'}"]
        if pod.status.reason:
            parts.append(f"({pod.status.reason})")
        if pod.status.finished_at:
            parts.append(f"since {pod.status.finished_at}")
        if self.is_terminating:
            parts.append(f"with the deletion timestamp {pod.metadata.deletion_timestamp}")
        parts.append("with an address" if self.has_ips else "without an address")
        return f"{' '.join(parts)}; node {self.claim.node_of(pod)} {node}"


def _micros(seconds: float) -> int:
    return round(seconds * SECOND)


def _micros_of(text: str) -> int:
    try:
        return parse_time(text)
    except ValueError:
        return 0
