"""Pods, and whether one is alive."""

from __future__ import annotations

import msgspec

from ipledger.projections.cluster.metadata import Object, Shape

_MIRROR = "kubernetes.io/config.mirror"


class _Terminated(Shape, frozen=True):
    finished_at: str | None = None


class _ContainerState(Shape, frozen=True):
    terminated: _Terminated | None = None


class _ContainerStatus(Shape, frozen=True):
    state: _ContainerState = _ContainerState()


class PodIP(Shape, frozen=True):
    """One address of a pod, as its kubelet reports it."""

    ip: str = ""


class PodSpec(Shape, frozen=True):
    """What is asked of a pod. `node_name` is '' until it is scheduled."""

    node_name: str = ""
    host_network: bool = False
    restart_policy: str = "Always"
    termination_grace_period_seconds: int | None = None


class PodStatus(Shape, frozen=True):
    """What its kubelet says. `container_statuses` is () unless a container has ended."""

    phase: str = ""
    reason: str = ""
    pod_ips: tuple[PodIP, ...] = msgspec.field(default=(), name="podIPs")
    container_statuses: tuple[_ContainerStatus, ...] = ()

    def __post_init__(self) -> None:
        if not any(status.state.terminated for status in self.container_statuses):
            msgspec.structs.force_setattr(self, "container_statuses", ())

    @property
    def finished_at(self) -> str:
        """When the last of its ended containers ended (RFC 3339, UTC), or ''."""
        ended = (status.state.terminated for status in self.container_statuses)
        return max((one.finished_at or "" for one in ended if one), default="")


class Pod(Object, frozen=True):
    """A pod."""

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def runtime_uid(self) -> str:
        """The UID that a runtime is told.

        Of a static pod, which its kubelet has from a file, that is the UID that the kubelet gave
        it; the API server has a mirror of it with another UID, and the kubelet's in an annotation.
        """
        return self.metadata.annotations.get(_MIRROR, self.uid)

    def has_uid(self, uid: str) -> bool:
        """Whether a runtime means this pod by `uid`."""
        return uid in (self.uid, self.runtime_uid)


def why_not_alive(pod: Pod) -> str:
    """Why a pod needs no address any more, or '' if it is alive.

    The rule is Spiderpool's IsPodAlive: it is being deleted, has ended and is not started again,
    or was evicted.
    """
    if pod.metadata.is_terminating:
        return f"it is being deleted since {pod.metadata.deletion_timestamp}"
    policy = pod.spec.restart_policy
    match pod.status.phase:
        case "Succeeded" if policy != "Always":
            return f"it has succeeded, and its restartPolicy is {policy}"
        case "Failed" if policy == "Never":
            return "it has failed, and its restartPolicy is Never"
        case "Failed" if pod.status.reason == "Evicted":
            return "it was evicted"
        case _:
            return ""
