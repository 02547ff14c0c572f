"""The auto pools of a Spiderpool: whom they are for is in their labels (ADR 98)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from ipledger.engine.commands import ApplyPool, ImportAutoPool
from ipledger.engine.subnet_annotations import IP_NUMBER
from ipledger.events.facts import Application, AutoPool, Owner, PoolSpec
from ipledger.kube.disagreements import Contradiction
from ipledger.projections.applications import ApplicationKey, application_key, key_of_owner
from ipledger.projections.cluster import kinds
from ipledger.projections.cluster.kinds import Kind
from ipledger.projections.cluster.pods import Pod
from ipledger.projections.cluster.spiderpool import SpiderIPPool
from ipledger.projections.cluster.workloads import Workload

_PREFIX = "ipam.spidernet.io/"
_APPLICATION = f"{_PREFIX}owner-application-"
_MATCHES = f"{_PREFIX}app-"
ASKING: tuple[Kind[Workload], ...] = (
    kinds.DEPLOYMENTS,
    kinds.REPLICA_SETS,
    kinds.DAEMON_SETS,
    kinds.JOBS,
    kinds.CRON_JOBS,
)
"""The kinds that are read for auto pools alone."""

_OURS = {(kind.group, kind.name) for kind in (*ASKING, kinds.STATEFUL_SETS, kinds.MACHINES)}
"""Kinds that the import reads. Of others' controllers their pods tell."""


def is_auto_pool(found: SpiderIPPool) -> bool:
    """Whether a pool was made for an application."""
    return f"{_APPLICATION}name" in found.metadata.labels


def owners(pools: Iterable[SpiderIPPool]) -> set[ApplicationKey]:
    """The applications that pools were made for, as far as labels say it."""
    return {_key(pool.metadata.labels) for pool in pools if is_auto_pool(pool)}


def told_by_pods(
    pools: Iterable[SpiderIPPool], pods: Iterable[Pod]
) -> dict[ApplicationKey, Application]:
    """Third parties' controllers with auto pools: what their pods ask for, as at an ADD.

    How many pods they want nobody knows.
    """
    wanted = {key for key in owners(pools) if (key.group, key.kind) not in _OURS}
    found: dict[ApplicationKey, Application] = {}
    for pod in pods if wanted else ():
        of, owner = pod.metadata, pod.metadata.controller
        if owner is None:
            continue
        version, kind, name = owner.api_version, owner.kind, owner.name
        key = application_key(version, kind, of.namespace, name)
        if key in wanted and key not in found:
            found[key] = Application(
                version, kind, of.namespace, name, owner.uid, replicas=0, annotations=of.annotations
            )
    return found


def auto_pool(
    found: SpiderIPPool, command: ApplyPool, applications: Mapping[ApplicationKey, Application]
) -> ImportAutoPool | Contradiction:
    """What an object with such labels stands for, or why it stands for nothing.

    `command` is the object as a pool, `applications` are those of the cluster.
    """
    about = f"SpiderIPPool {found.key}"
    auto = _read(found, command)
    if isinstance(auto, str):
        return Contradiction(about, "an auto pool", f"label {auto} is missing")
    owner = auto.owner
    key = key_of_owner(owner, auto.namespace)
    told = applications.get(key)
    one = f"an auto pool of {key}" + (f" (UID {owner.uid})" if owner.uid else "")
    if told is None and auto.reclaim:
        silent = f"no pod of this {owner.kind} of {owner.api_version} says what it asks for"
        gone = "there is no such application"
        return Contradiction(about, one, gone if (key.group, key.kind) in _OURS else silent)
    if told is not None and auto.reclaim and owner.uid not in ("", told.uid):
        return Contradiction(about, one, f"that application has the UID {told.uid}")
    spec = _without_own_selector(command.pool)
    return ImportAutoPool(pool=msgspec.structs.replace(spec, auto=auto), application=told)


def _read(found: SpiderIPPool, command: ApplyPool) -> AutoPool | str:
    """Whom a pool is for, or the label that does not say it."""
    labels, read = found.metadata.labels, dict[str, str]()
    for what in (
        "owner-spider-subnet",
        *(f"owner-application-{part}" for part in ("gv", "kind", "namespace", "name")),
        "interface",
    ):
        read[what] = labels.get(_PREFIX + what, "")
        if not read[what]:
            return _PREFIX + what
    owner = Owner(
        read["owner-application-gv"].replace("_", "/"),
        read["owner-application-kind"],
        read["owner-application-name"],
        labels.get(f"{_APPLICATION}uid", ""),
    )
    return AutoPool(
        read["owner-spider-subnet"],
        read["owner-application-namespace"],
        owner,
        read["interface"],
        found.metadata.annotations.get(IP_NUMBER, ""),
        command.reclaim is not False,
    )


def _key(labels: Mapping[str, str]) -> ApplicationKey:
    version, *rest = (
        labels.get(_APPLICATION + part, "") for part in ("gv", "kind", "namespace", "name")
    )
    kind, namespace, name = rest
    return application_key(version.replace("_", "/"), kind, namespace, name)


def _without_own_selector(spec: PoolSpec) -> PoolSpec:
    """The pool without the selector by which Spiderpool says whose it is; another one stays."""
    own = spec.pod_affinity
    if own is None or own.match_expressions:
        return spec
    if all(key.startswith(_MATCHES) for key in own.match_labels):
        return msgspec.structs.replace(spec, pod_affinity=None)
    return spec
