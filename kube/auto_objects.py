"""Auto pools as objects: the engine makes the pools, and the controller shows them.

Their addresses and labels are the log's; other fields of an object may be changed by anybody.
`MADE` marks an object that was made for a pool of the log: with the pool, the object goes.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ipledger.engine.commands import ApplyPool
from ipledger.engine.subnets import as_asked
from ipledger.events.facts import AutoPool, PoolSpec
from ipledger.events.position import Position
from ipledger.kube.objects import FINALIZER
from ipledger.kube.resources import RECLAIM
from ipledger.projections.cluster.metadata import Object
from ipledger.projections.cluster.spiderpool import Resource
from ipledger.projections.labels import auto_labels

MADE = "ipledger.io/made-at"
"""The annotation with the position at which the pool or pod was seen that an object is for."""

_APPLICATION = "ipam.spidernet.io/owner-application-name"
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def body_of(spec: PoolSpec, at: Position) -> dict[str, Any]:
    """The object of an auto pool. What is the engine's own of a specification is in the labels."""
    fields = msgspec.to_builtins(as_asked(spec))
    metadata = {
        "name": fields.pop("name"),
        "labels": _labels(spec),
        "annotations": {MADE: str(at)},
        "finalizers": [FINALIZER],
    }
    fields.pop("auto")
    return {"metadata": metadata, "spec": fields}


def made_at(found: Object) -> Position | None:
    """Where the pool or pod was seen that an object is for, None for somebody else's object."""
    text = found.metadata.annotations.get(MADE)
    try:
        return None if text is None else Position.parse(text)
    except ValueError:
        return None


def is_unknown_auto(found: Resource, spec: PoolSpec | None) -> bool:
    """Whether an object is an auto pool that Spiderpool made, and the log does not have."""
    return spec is None and made_at(found) is None and _APPLICATION in found.metadata.labels


def wanted(command: ApplyPool, spec: PoolSpec, auto: AutoPool, found: Resource) -> ApplyPool | None:
    """What an object asks of its auto pool, None where it is so.

    `command` is the object as it reads. Its addresses and labels follow the log; of its end only
    an annotation says something, since the label is ours.
    """
    says = RECLAIM in found.metadata.annotations
    reclaim = command.reclaim if says else None
    asked = msgspec.structs.replace(
        command.pool, ips=spec.ips, exclude_ips=spec.exclude_ips, auto=auto
    )
    if asked == as_asked(spec) and reclaim in (None, auto.reclaim):
        return None
    return ApplyPool(pool=asked, reclaim=reclaim)


def changes(
    command: ApplyPool, spec: PoolSpec, found: Resource, at: Position
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """What of an object's specification and metadata is not as the log has it, None if all is.

    An object that Spiderpool made is marked from here on: it goes with its pool.
    """
    fields: dict[str, Any] = {}
    if command.pool.ips != spec.ips:
        fields["ips"] = list(spec.ips)
    if command.pool.exclude_ips != spec.exclude_ips:
        fields["excludeIPs"] = list(spec.exclude_ips)
    have = found.metadata.labels
    labels = {key: text for key, text in _labels(spec).items() if have.get(key) != text}
    metadata: dict[str, Any] = {"labels": labels} if labels else {}
    if made_at(found) is None:
        metadata["annotations"] = {MADE: str(at)}
    if not fields and not metadata:
        return None
    return ({"spec": fields} if fields else {}), metadata


def _labels(spec: PoolSpec) -> dict[str, str]:
    """The labels, but for those that cannot be one: the name of an application may be longer."""
    labels = auto_labels(spec)
    return {key: text for key, text in labels.items() if _LABEL_VALUE.fullmatch(text)}
