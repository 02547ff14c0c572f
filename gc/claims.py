"""An allocation as the collector sees it: what a release must name, and what judging needs."""

from __future__ import annotations

import re

import msgspec

from ipledger.events.clock import parse_time
from ipledger.events.facts import Owner, Pod
from ipledger.projections.cluster import pods as cluster
from ipledger.projections.fixed import Place, place_of
from ipledger.projections.rows import AllocationRow

_KUBERNETES_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Claim(msgspec.Struct, frozen=True, gc=False):
    """What an allocation claims to be used by. `bound` is when its last sandbox came (micros)."""

    allocation: str
    pod: Pod
    node: str
    sandbox: str
    interface: str
    owner: Owner | None
    bound: int
    addresses: tuple[str, ...]

    @property
    def place(self) -> Place | None:
        """The place that keeps the addresses for one pod after another."""
        return place_of(self.owner, self.pod.namespace, self.pod.name)

    def node_of(self, pod: cluster.Pod | None) -> str:
        """The node whose kubelet tells of the pod: an agent may have been given another name."""
        is_own = pod is not None and pod.has_uid(self.pod.uid)
        return (pod.spec.node_name if pod is not None and is_own else "") or self.node

    @property
    def is_of_kubernetes(self) -> bool:
        """Whether its pod has a UID that an API server gave.

        Others do not know the pod: a runtime without Kubernetes (its container id stands for the
        UID), or a static pod, whose kubelet hashes a UID (32 digits, no hyphen).
        """
        return bool(self.pod.namespace and _KUBERNETES_UID.fullmatch(self.pod.uid))


def claim_of(row: AllocationRow) -> Claim:
    """The claim of an allocation as the engine tells it."""
    return Claim(
        row.id,
        Pod(row.namespace, row.pod, row.uid),
        row.node,
        row.sandbox,
        row.interface,
        row.owner,
        parse_time(row.bound or row.since),
        tuple(address.ip for address in row.addresses),
    )
