"""Workloads: controllers of pods and virtual machines.

Of a workload only what IPAM needs is read: how many pods it wants, and the annotations of its
pods that the engine reads. How many pods a kind wants is counted as Spiderpool counts.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ipledger.projections.cluster.metadata import ENGINE_ANNOTATIONS, Object, Shape


class _PodMetadata(Shape, frozen=True):
    annotations: dict[str, str] | None = None

    def __post_init__(self) -> None:
        found = (self.annotations or {}).items()
        kept = {key: value for key, value in found if key.startswith(ENGINE_ANNOTATIONS)}
        msgspec.structs.force_setattr(self, "annotations", kept)


class PodTemplate(Shape, frozen=True):
    """The pods that a workload makes."""

    metadata: _PodMetadata | None = None

    @property
    def annotations(self) -> dict[str, str]:
        """The annotations that the engine reads."""
        return (self.metadata and self.metadata.annotations) or {}


class Ordinals(Shape, frozen=True):
    """Where the ordinals of a StatefulSet's pods start."""

    start: int = 0


class ReplicatedSpec(Shape, frozen=True):
    """`spec` of a Deployment, ReplicaSet or StatefulSet; of a DaemonSet the template alone."""

    replicas: int = 1
    ordinals: Ordinals = Ordinals()
    template: PodTemplate = PodTemplate()


class MachineSpec(Shape, frozen=True):
    """`spec` of a virtual machine."""

    template: PodTemplate = PodTemplate()

    @property
    def replicas(self) -> int:
        """One pod at a time."""
        return 1


class JobSpec(Shape, frozen=True):
    """`spec` of a Job."""

    completions: int | None = None
    parallelism: int | None = None
    template: PodTemplate = PodTemplate()

    @property
    def replicas(self) -> int:
        """Its completions, else its parallelism, one at least."""
        given = (self.completions, self.parallelism)
        return next((number for number in given if number is not None), 1) or 1


class _JobTemplate(Shape, frozen=True):
    spec: JobSpec = JobSpec()


class CronJobSpec(Shape, frozen=True):
    """`spec` of a CronJob."""

    job_template: _JobTemplate = _JobTemplate()

    @property
    def replicas(self) -> int:
        """What one of its Jobs wants."""
        return self.job_template.spec.replicas

    @property
    def template(self) -> PodTemplate:
        """The pods of its Jobs."""
        return self.job_template.spec.template


class DaemonSetStatus(Shape, frozen=True):
    """`status` of a DaemonSet: nobody else knows on how many nodes it wants to be."""

    desired_number_scheduled: int = 0


class Replicated(Object, frozen=True):
    """A Deployment, ReplicaSet or StatefulSet."""

    spec: ReplicatedSpec = ReplicatedSpec()

    @property
    def replicas(self) -> int:
        """How many pods it wants."""
        return self.spec.replicas


class DaemonSet(Object, frozen=True):
    """A DaemonSet."""

    spec: ReplicatedSpec = ReplicatedSpec()
    status: DaemonSetStatus = DaemonSetStatus()

    @property
    def replicas(self) -> int:
        """How many pods it wants."""
        return self.status.desired_number_scheduled


class Job(Object, frozen=True):
    """A Job."""

    spec: JobSpec = JobSpec()

    @property
    def replicas(self) -> int:
        """How many pods it wants."""
        return self.spec.replicas


class CronJob(Object, frozen=True):
    """A CronJob."""

    spec: CronJobSpec = CronJobSpec()

    @property
    def replicas(self) -> int:
        """How many pods it wants."""
        return self.spec.replicas


class Machine(Object, frozen=True):
    """A virtual machine of KubeVirt, or its running instance, which has no template."""

    spec: MachineSpec = MachineSpec()

    @property
    def replicas(self) -> int:
        """How many pods it wants."""
        return self.spec.replicas


Workload: TypeAlias = Replicated | DaemonSet | Job | CronJob | Machine
