"""What creating, changing and deleting an object means."""

from __future__ import annotations

import copy
import itertools
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from support.apiserver import patches
from support.apiserver.errors import StatusError, no_object
from support.apiserver.resources import Resource
from support.apiserver.selectors import Object
from support.apiserver.store import Key, Store

_SYSTEM_FIELDS = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generateName",
    "generation",
    "resourceVersion",
    "name",
    "namespace",
)
_GRACE_DEFAULT_S = 30
_suffixes = (f"{number:05x}" for number in itertools.count(0xA0000))


def now(later_s: float = 0) -> str:
    """A time as Kubernetes writes it."""
    return (datetime.now(UTC) + timedelta(seconds=later_s)).strftime("%Y-%m-%dT%H:%M:%SZ")


def create(store: Store, resource: Resource, namespace: str, body: Object) -> Object:
    """A POST."""
    made = copy.deepcopy(body)
    metadata = made.setdefault("metadata", {})
    if metadata.get("resourceVersion"):
        raise StatusError(
            "BadRequest", "resourceVersion should not be set on objects to be created"
        )
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = metadata["generateName"] + next(_suffixes)
    name = metadata.get("name")
    if not name:
        raise StatusError(
            "Invalid", "metadata.name: Required value: name or generateName is required"
        )
    if resource.is_namespaced:
        if metadata.setdefault("namespace", namespace) != namespace:
            message = "the namespace of the provided object does not match the namespace sent"
            raise StatusError("BadRequest", message)
        if store.get("namespaces", ("", namespace)) is None:
            raise no_object("namespaces", namespace)
    key = (namespace, name)
    if store.get(resource.full_name, key) is not None:
        raise StatusError("AlreadyExists", f'{resource.full_name} "{name}" already exists')
    metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
    if resource.has_generation:
        metadata["generation"] = 1
    if resource.has_status:
        made.pop("status", None)
    _complete(resource, made)
    made |= {"apiVersion": resource.api_version, "kind": resource.kind}
    return store.write(resource.full_name, key, made)


def _complete(resource: Resource, made: Object) -> None:
    """The defaults that somebody relies on."""
    if resource.kind == "Pod":
        spec = made.setdefault("spec", {})
        spec.setdefault("restartPolicy", "Always")
        spec.setdefault("terminationGracePeriodSeconds", _GRACE_DEFAULT_S)
        made["status"] = {"phase": "Pending"}
    if resource.kind in ("Deployment", "ReplicaSet", "StatefulSet"):
        made.setdefault("spec", {}).setdefault("replicas", 1)


def replace(
    store: Store, resource: Resource, key: Key, body: Object, subresource: str = ""
) -> Object:
    """A PUT of an object or of its status."""
    known = _known(store, resource, key)
    version = body.get("metadata", {}).get("resourceVersion")
    if not version and resource.is_custom:
        raise StatusError("Invalid", "metadata.resourceVersion: must be specified for an update")
    if version and version != known["metadata"]["resourceVersion"]:
        message = (
            f'Operation cannot be fulfilled on {resource.full_name} "{key[1]}": the object has '
            "been modified; please apply your changes to the latest version and try again"
        )
        raise StatusError("Conflict", message)
    return _changed(store, resource, key, known, copy.deepcopy(body), subresource)


def patch(
    store: Store, resource: Resource, key: Key, kind: str, body: Any, subresource: str = ""
) -> Object:
    """A PATCH of an object or of its status."""
    known = _known(store, resource, key)
    if kind == "application/merge-patch+json":
        new = patches.merged(known, body)
    elif kind == "application/json-patch+json":
        new = patches.patched(known, body)
    else:
        raise StatusError("UnsupportedMediaType", f"the body of the request was {kind}")
    return replace(store, resource, key, new, subresource)


def _known(store: Store, resource: Resource, key: Key) -> Object:
    known = store.get(resource.full_name, key)
    if known is None:
        raise no_object(resource.full_name, key[1])
    return known


def _changed(
    store: Store, resource: Resource, key: Key, known: Object, new: Object, subresource: str
) -> Object:
    if subresource == "status":
        kept = {k: v for k, v in known.items() if k != "status"}
        new = {**kept, "status": new.get("status", {})}
    elif resource.has_status:
        new.pop("status", None)
        new |= {"status": known["status"]} if "status" in known else {}
    old = known["metadata"]
    kept = {name: old[name] for name in _SYSTEM_FIELDS if name in old}
    given = new.get("metadata", {})
    if given.get("uid", old["uid"]) != old["uid"]:
        raise StatusError("Conflict", f"Precondition failed: UID in precondition: {given['uid']}")
    mine = {k: v for k, v in given.items() if k not in _SYSTEM_FIELDS and v not in ({}, [])}
    new |= {
        "metadata": mine | kept,
        "apiVersion": resource.api_version,
        "kind": resource.kind,
    }
    if new == known:
        return known  # nothing is written, and the version stays
    if resource.has_generation and new.get("spec") != known.get("spec"):
        new["metadata"]["generation"] = old["generation"] + 1
    if "deletionTimestamp" in old and not mine.get("finalizers") and _is_over(old):
        store.write(resource.full_name, key, None)
        return new
    return store.write(resource.full_name, key, new)


def _is_over(metadata: Object) -> bool:
    return not metadata.get("deletionGracePeriodSeconds")


def delete(store: Store, resource: Resource, key: Key, options: Object) -> Object:
    """A DELETE. A pod on a node is given its grace; what has finalizers waits for them."""
    known = _known(store, resource, key)
    metadata = known["metadata"]
    for name, value in options.get("preconditions", {}).items():
        if metadata[name] != value:
            message = f"Precondition failed: {name} in precondition: {value}, in object meta: "
            raise StatusError("Conflict", message + metadata[name])
    grace_s = _grace_s(resource, known, options)
    if grace_s or metadata.get("finalizers"):
        if "deletionTimestamp" in metadata and (
            grace_s >= metadata.get("deletionGracePeriodSeconds", 0)
        ):
            return known
        ending = {"deletionTimestamp": now(grace_s), "deletionGracePeriodSeconds": grace_s}
        if "generation" in metadata:
            ending["generation"] = metadata["generation"] + 1
        marked = {**known, "metadata": {**metadata, **ending}}
        return store.write(resource.full_name, key, marked)
    gone = store.write(resource.full_name, key, None)
    if resource.kind == "Pod":
        return gone
    details = {"name": key[1], "group": resource.group, "kind": resource.plural}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {**details, "uid": metadata["uid"]},
    }


def _grace_s(resource: Resource, known: Object, options: Object) -> int:
    """Pods alone have a grace, and only on a node and while they have not ended."""
    if resource.kind != "Pod" or not known["spec"].get("nodeName"):
        return 0
    if known["status"].get("phase") in ("Succeeded", "Failed"):
        return 0
    asked = options.get("gracePeriodSeconds")
    return known["spec"]["terminationGracePeriodSeconds"] if asked is None else int(asked)
