"""Which pools may serve a request, and in which order (Spiderpool: selectByPod, sorting)."""

from __future__ import annotations

from ipledger.engine.commands import Allocate
from ipledger.engine.selectors import matches
from ipledger.events.facts import AutoPool, Candidate, PoolSpec, Verdict
from ipledger.projections.applications import key_of_owner
from ipledger.projections.pool import Pool


def passed_over(pool: Pool, ip_version: int, command: Allocate) -> Candidate | None:
    """The verdict on a pool that may not serve this request, None on one that may.

    The first failing test is told: terminating, version, disabled, node, namespace, pod, network.
    A list of names takes the place of the selector beside it.
    """
    spec = pool.spec
    for verdict, detail in (
        (Verdict.TERMINATING, "it goes with its last address" if pool.terminating else ""),
        _version(spec, ip_version),
        (Verdict.DISABLED, "spec.disable is true" if spec.disable else ""),
        (Verdict.NODE_MISMATCH, _node(spec, command)),
        (Verdict.NAMESPACE_MISMATCH, _namespace(spec, command)),
        (Verdict.POD_MISMATCH, _pod(spec, command)),
        (Verdict.NETWORK_MISMATCH, _network(spec, command)),
    ):
        if detail:
            return Candidate(spec.name, ip_version, verdict, detail)
    return None


def rank(spec: PoolSpec) -> int:
    """How closely a pool is tied to whom it serves: lower goes first, equal keeps its order.

    By presence: podAffinity, then nodeName, nodeAffinity, namespaceName, namespaceAffinity,
    multusName.
    """
    present = (
        spec.pod_affinity,
        spec.node_name,
        spec.node_affinity,
        spec.namespace_name,
        spec.namespace_affinity,
        spec.multus_name,
    )
    return -sum(1 << (len(present) - place) for place, field in enumerate(present) if field)


def _version(spec: PoolSpec, ip_version: int) -> tuple[str, str]:
    wrong = f"it is an IPv{spec.ip_version} pool" if spec.ip_version != ip_version else ""
    return Verdict.WRONG_IP_VERSION, wrong


def _node(spec: PoolSpec, command: Allocate) -> str:
    if spec.node_name:
        listed = command.node in spec.node_name
        return "" if listed else f"node {command.node} is not in spec.nodeName"
    if spec.node_affinity and not matches(spec.node_affinity, command.node_labels):
        return f"node {command.node} does not match spec.nodeAffinity"
    return ""


def _namespace(spec: PoolSpec, command: Allocate) -> str:
    namespace = command.pod.namespace
    if spec.namespace_name:
        listed = namespace in spec.namespace_name
        return "" if listed else f"namespace {namespace!r} is not in spec.namespaceName"
    if spec.namespace_affinity and not matches(spec.namespace_affinity, command.namespace_labels):
        return f"namespace {namespace!r} does not match spec.namespaceAffinity"
    return ""


def _pod(spec: PoolSpec, command: Allocate) -> str:
    if spec.auto is not None:
        return _application(spec.auto, command)
    if spec.pod_affinity and not matches(spec.pod_affinity, command.labels):
        return f"pod {command.pod} does not match spec.podAffinity"
    return ""


def _application(auto: AutoPool, command: Allocate) -> str:
    """An auto pool serves the pods of its application, whatever their labels."""
    key = key_of_owner(auto.owner, auto.namespace)
    owner = command.owner
    if owner is not None and key_of_owner(owner, command.pod.namespace) == key:
        return ""
    return f"it is the auto pool of {key}"


def _network(spec: PoolSpec, command: Allocate) -> str:
    if not spec.multus_name:
        return ""
    full = command.network_name
    bare = full.rpartition("/")[2]
    listed = bool(full) and (full in spec.multus_name or bare in spec.multus_name)
    return "" if listed else f"network {full!r} is not in spec.multusName"
