"""The shapes of workloads: controllers of pods and virtual machines, and what they stand for.

Of a workload only what IPAM needs is read: how many pods it wants, and the annotations of its
pods. The rest is the cluster's. How many pods a kind wants is counted as Spiderpool counts.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from ipledger.engine.commands import ApplyApplication
from ipledger.events.facts import Application

_READ = ("ipam.spidernet.io/", "ipledger.io/")
"""How the annotations begin that the engine may read."""


class _PodMetadata(msgspec.Struct, frozen=True):
    annotations: dict[str, str] | None = None


class _Template(msgspec.Struct, frozen=True):
    metadata: _PodMetadata | None = None


class _Ordinals(msgspec.Struct, frozen=True):
    start: int = 0


class _ReplicatedFields(msgspec.Struct, frozen=True):
    """Deployment, ReplicaSet, StatefulSet; of a virtual machine the template alone."""

    replicas: int = 1
    ordinals: _Ordinals = _Ordinals()
    template: _Template = _Template()


class _JobFields(msgspec.Struct, frozen=True):
    completions: int | None = None
    parallelism: int | None = None
    template: _Template = _Template()


class _JobTemplate(msgspec.Struct, frozen=True):
    spec: _JobFields = _JobFields()


class _CronJobFields(msgspec.Struct, frozen=True, rename="camel"):
    job_template: _JobTemplate = _JobTemplate()


class _DaemonSetStatus(msgspec.Struct, frozen=True, rename="camel"):
    desired_number_scheduled: int = 0


class _Metadata(msgspec.Struct):
    name: str
    namespace: str = "default"
    uid: str = ""


class _Workload(msgspec.Struct, rename="camel", kw_only=True):
    api_version: str
    kind: str
    metadata: _Metadata


class _Replicated(_Workload, kw_only=True):
    spec: _ReplicatedFields = _ReplicatedFields()


class _DaemonSet(_Replicated, kw_only=True):
    status: _DaemonSetStatus = _DaemonSetStatus()


class _Job(_Workload, kw_only=True):
    spec: _JobFields = _JobFields()


class _CronJob(_Workload, kw_only=True):
    spec: _CronJobFields = _CronJobFields()


W = TypeVar("W", bound=_Workload)


def replicated(resource: object) -> ApplyApplication:
    """A Deployment, ReplicaSet or StatefulSet."""
    read = msgspec.convert(resource, _Replicated)
    return _told(read, read.spec.replicas, read.spec.template, read.spec.ordinals.start)


def machine(resource: object) -> ApplyApplication:
    """A virtual machine: one pod at a time."""
    read = msgspec.convert(resource, _Replicated)
    return _told(read, 1, read.spec.template)


def daemon_set(resource: object) -> ApplyApplication:
    """A DaemonSet wants as many pods as its status says: nobody else knows the nodes."""
    read = msgspec.convert(resource, _DaemonSet)
    return _told(read, read.status.desired_number_scheduled, read.spec.template)


def job(resource: object) -> ApplyApplication:
    """A Job."""
    read = msgspec.convert(resource, _Job)
    return _told(read, _pods_of(read.spec), read.spec.template)


def cron_job(resource: object) -> ApplyApplication:
    """A CronJob wants what one of its Jobs does."""
    read = msgspec.convert(resource, _CronJob)
    fields = read.spec.job_template.spec
    return _told(read, _pods_of(fields), fields.template)


def _pods_of(fields: _JobFields) -> int:
    return next((n for n in (fields.completions, fields.parallelism) if n is not None), 1) or 1


def _told(read: _Workload, replicas: int, template: _Template, start: int = 0) -> ApplyApplication:
    of = read.metadata
    annotations = (template.metadata and template.metadata.annotations) or {}
    application = Application(
        read.api_version,
        read.kind,
        of.namespace,
        of.name,
        of.uid,
        replicas=replicas,
        start=start,
        annotations={k: v for k, v in annotations.items() if k.startswith(_READ)},
    )
    return ApplyApplication(application=application)
