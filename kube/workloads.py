"""Workloads as manifests: controllers of pods and virtual machines, and what they stand for."""

from __future__ import annotations

import msgspec

from ipledger.engine.commands import ApplyApplication
from ipledger.events.facts import Application
from ipledger.projections.cluster.kinds import Kind
from ipledger.projections.cluster.workloads import (
    CronJobSpec,
    DaemonSetStatus,
    JobSpec,
    MachineSpec,
    PodTemplate,
    Replicated,
    ReplicatedSpec,
    Workload,
)


def told_of(kind: Kind[Workload], found: Workload) -> Application:
    """A workload of an API server as the engine is told of it."""
    of = found.metadata
    return Application(
        kind.api_version,
        kind.name,
        of.namespace,
        of.name,
        of.uid,
        replicas=found.replicas,
        start=found.spec.ordinals.start if isinstance(found, Replicated) else 0,
        annotations=found.spec.template.annotations,
    )


class _Metadata(msgspec.Struct):
    name: str
    namespace: str = "default"
    uid: str = ""


class _Workload(msgspec.Struct, rename="camel", kw_only=True):
    api_version: str
    kind: str
    metadata: _Metadata


class _Replicated(_Workload, kw_only=True):
    spec: ReplicatedSpec = ReplicatedSpec()


class _DaemonSet(_Replicated, kw_only=True):
    status: DaemonSetStatus = DaemonSetStatus()


class _Machine(_Workload, kw_only=True):
    spec: MachineSpec = MachineSpec()


class _Job(_Workload, kw_only=True):
    spec: JobSpec = JobSpec()


class _CronJob(_Workload, kw_only=True):
    spec: CronJobSpec = CronJobSpec()


def replicated(resource: object) -> ApplyApplication:
    """A Deployment, ReplicaSet or StatefulSet."""
    read = msgspec.convert(resource, _Replicated)
    return _told(read, read.spec.replicas, read.spec.template, read.spec.ordinals.start)


def machine(resource: object) -> ApplyApplication:
    """A virtual machine: one pod at a time."""
    read = msgspec.convert(resource, _Machine)
    return _told(read, read.spec.replicas, read.spec.template)


def daemon_set(resource: object) -> ApplyApplication:
    """A DaemonSet wants as many pods as its status says."""
    read = msgspec.convert(resource, _DaemonSet)
    return _told(read, read.status.desired_number_scheduled, read.spec.template)


def job(resource: object) -> ApplyApplication:
    """A Job."""
    read = msgspec.convert(resource, _Job)
    return _told(read, read.spec.replicas, read.spec.template)


def cron_job(resource: object) -> ApplyApplication:
    """A CronJob wants what one of its Jobs does."""
    read = msgspec.convert(resource, _CronJob)
    return _told(read, read.spec.replicas, read.spec.template)


def _told(
    read: _Workload, replicas: int, template: PodTemplate, start: int = 0
) -> ApplyApplication:
    of = read.metadata
    application = Application(
        read.api_version,
        read.kind,
        of.namespace,
        of.name,
        of.uid,
        replicas=replicas,
        start=start,
        annotations=template.annotations,
    )
    return ApplyApplication(application=application)
