"""Reading a resource, from a manifest or an API server: a command, or the field that is wrong."""

from __future__ import annotations

import re
from typing import Any, cast

import msgspec

from ipledger.engine.commands import AnyApply
from ipledger.events.quoting import QUOTE_MAX, cut, quote
from ipledger.kube.documents import value_at
from ipledger.kube.resources import READERS, FieldError
from ipledger.projections.cluster.kinds import Kind
from ipledger.projections.cluster.spiderpool import Specified

_AT = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)


def read_resource(resource: dict[str, Any]) -> AnyApply:
    """What a resource of a kind that is known stands for. Raises `FieldError`."""
    try:
        return READERS[resource["kind"]].read(_without_nulls(resource))
    except msgspec.ValidationError as error:
        raise _explained(resource, str(error)) from None


def as_manifest(kind: Kind[Any], found: Specified) -> dict[str, Any]:
    """An object of an API server as somebody would apply it."""
    metadata = found.metadata
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {
            "name": metadata.name,
            "annotations": metadata.annotations,
            "labels": metadata.labels,
        },
        "spec": msgspec.json.decode(found.spec),
    }


def _without_nulls(resource: dict[str, Any]) -> dict[str, Any]:
    """The resource with the fields of `spec` that are null left out, as kubectl means them."""
    spec: Any = resource.get("spec")
    if not isinstance(spec, dict):
        return resource
    fields = cast(dict[str, Any], spec)
    return {**resource, "spec": {k: v for k, v in fields.items() if v is not None}}


def _explained(resource: dict[str, Any], message: str) -> FieldError:
    """msgspec's message as field, value and reason."""
    match = _AT.fullmatch(message)
    assert match is not None
    field = (match["path"] or "").removesuffix("[...]")
    unknown = _UNKNOWN.fullmatch(match["what"])
    if unknown is not None:
        field = f"{field}.{unknown['name']}".lstrip(".")
        return FieldError(field, f"field {cut(field, QUOTE_MAX)}: unknown")
    missing = re.fullmatch(r"Object missing required field `(.*)`", match["what"])
    if missing is not None:
        field = f"{field}.{missing[1]}".lstrip(".")
        return FieldError(field, f"{field}: is required")
    value = value_at(resource, field)
    shown = "(nothing)" if value is None else quote(value)
    return FieldError(field, f"{field}: {shown} is wrong: {match['what'].lower()}")
