"""Kubernetes' rules for structural schemas.

From "Extend the Kubernetes API with CustomResourceDefinitions", section "Specifying a structural
schema", and the restrictions of apiextensions.k8s.io/v1 that it lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

_NO_REFERENCES = {"$ref", "$schema", "definitions", "dependencies", "discriminator"}
_FORBIDDEN = _NO_REFERENCES | {
    "deprecated",
    "id",
    "patternProperties",
    "readOnly",
    "writeOnly",
    "xml",
    "uniqueItems",
}
_TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}


def violations(schema: Schema) -> list[str]:
    """What is against the rules, each with the path of the field. None if the schema is valid."""
    found = list(_node("", schema))
    metadata = schema.get("properties", {}).get("metadata", {})
    if not set(metadata.get("properties", {})) <= {"name", "generateName"}:
        found.append(".metadata: only name and generateName may be restricted")
    return found


def fields(schema: Schema, at: str = "") -> Iterator[tuple[str, Schema]]:
    """Each field below a schema with its path; items of lists as `[]`, values of maps as `{}`."""
    for name, below in schema.get("properties", {}).items():
        yield f"{at}.{name}", below
        yield from fields(below, f"{at}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(key), dict):
            yield f"{at}{mark}", schema[key]
            yield from fields(schema[key], f"{at}{mark}")


def _node(at: str, schema: Schema) -> Iterator[str]:
    kind = schema.get("type")
    if kind not in _TYPES:
        yield f"{at}: type {kind!r}"
        return
    if not schema.get("description") and at != ".metadata" and not at.endswith(("[]", "{}")):
        yield f"{at}: no description"
    yield from (f"{at}: {word} is forbidden" for word in sorted(_FORBIDDEN & set(schema)))
    if kind == "array":
        yield from _list(at, schema)
    if "properties" in schema and "additionalProperties" in schema:
        yield f"{at}: both properties and additionalProperties"
    for name in schema.get("required", ()):
        if name not in schema.get("properties", {}):
            yield f"{at}: requires {name}, which is not there"
    if "default" in schema and not isinstance(schema["default"], _TYPES[kind]):
        yield f"{at}: default {schema['default']!r} is no {kind}"
    for path, below in _children(schema):
        yield from _node(at + path, below)


def _list(at: str, schema: Schema) -> Iterator[str]:
    if not isinstance(schema.get("items"), dict):
        yield f"{at}: no items"
    if schema.get("x-kubernetes-list-type") == "map":
        item = schema.get("items", {})
        for key in schema.get("x-kubernetes-list-map-keys", ()):
            if key not in item.get("required", ()) and "default" not in item["properties"][key]:
                yield f"{at}: key {key} is neither required nor defaulted"


def _children(schema: Schema) -> Iterator[tuple[str, Schema]]:
    for path, below in fields(schema):
        if sum(map(path.count, (".", "[]", "{}"))) == 1:
            yield path, below
