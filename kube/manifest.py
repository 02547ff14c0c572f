"""Spiderpool manifests: text to pool specifications, each document by itself.

Only how a resource is written is known here (apiVersion, kind, field names, types); whether it
is allowed is decided in `engine`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

import msgspec

from ipledger.events.facts import PoolSpec, Route
from ipledger.kube.documents import Document, Malformed, read

API_VERSION = "spiderpool.spidernet.io/v2beta1"
POOL_KIND = "SpiderIPPool"
_LIST_KIND = "List"

_LATER_FIELDS = (
    "podAffinity",
    "namespaceName",
    "namespaceAffinity",
    "nodeName",
    "nodeAffinity",
    "multusName",
)
"""Fields of SpiderIPPool.spec that Spiderpool knows and this release does not."""

_AT = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)


class _Route(msgspec.Struct, forbid_unknown_fields=True):
    dst: str
    gw: str


class _PoolFields(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    ip_version: int = 0
    subnet: str = ""
    ips: tuple[str, ...] = ()
    exclude_ips: tuple[str, ...] = msgspec.field(default=(), name="excludeIPs")
    gateway: str = ""
    routes: tuple[_Route, ...] = ()
    default: bool = False
    disable: bool = False


class _Metadata(msgspec.Struct):
    name: str


class _Resource(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    api_version: str
    kind: str
    metadata: _Metadata
    spec: _PoolFields
    status: object = None


class ManifestError(Exception):
    """A document that cannot be used; the text says where, which field and which value."""

    def __init__(self, source: str, document: Document | Malformed, field: str, what: str) -> None:
        place = _place(document, field)
        super().__init__(f"{source}: document {document.number} ({place}): {what}")
        self.kind, self.name = _identity(document)


class PoolManifest:
    """A document that defines a pool; whether the pool is allowed is for the engine to say."""

    def __init__(self, source: str, document: Document, spec: PoolSpec) -> None:
        self.spec = spec
        self._source = source
        self._document = document

    def refused(self, field: str, message: str) -> ManifestError:
        """The engine's refusal of this pool, at the line of the field it names."""
        return ManifestError(self._source, self._document, field, message)


def parse(text: str, source: str) -> list[PoolManifest | ManifestError]:
    """Each resource of a text, or what is wrong with it. Text that is no YAML ends the list.

    `source` is the file's name, for the errors.
    """
    results: list[PoolManifest | ManifestError] = []
    for document in read(text):
        if isinstance(document, Malformed):
            results.append(ManifestError(source, document, "", document.problem))
        else:
            results.extend(_results(source, document))
    return results


def _results(source: str, document: Document) -> Iterator[PoolManifest | ManifestError]:
    is_list = document.at("kind") == _LIST_KIND
    for resource in document.items() if is_list else (document,):
        try:
            yield PoolManifest(source, resource, _pool(source, resource))
        except ManifestError as error:
            yield error


def _pool(source: str, document: Document) -> PoolSpec:
    if not isinstance(document.value, dict):
        what = f"{document.value!r} is not a resource (a mapping with apiVersion, kind, metadata)"
        raise ManifestError(source, document, "", what)
    twice = document.repeated()
    if twice is not None:
        raise ManifestError(source, document, twice, f"field {twice}: is there twice")
    kind, api_version = document.at("kind"), document.at("apiVersion")
    if (kind, api_version) != (POOL_KIND, API_VERSION):
        field = "kind" if kind != POOL_KIND else "apiVersion"
        what = f"kind {_shown(kind)} of apiVersion {_shown(api_version)} is not supported"
        known = f"this release knows {POOL_KIND} of {API_VERSION}"
        raise ManifestError(source, document, field, f"{what}; {known}")
    try:
        resource = msgspec.convert(_without_nulls(cast(dict[str, Any], document.value)), _Resource)
    except msgspec.ValidationError as error:
        raise _explained(source, document, str(error)) from None
    if not resource.metadata.name:
        what = "metadata.name: '' is not a name"
        raise ManifestError(source, document, "metadata.name", what)
    return _spec(resource.metadata.name, resource.spec)


def _spec(name: str, fields: _PoolFields) -> PoolSpec:
    return PoolSpec(
        name=name,
        ip_version=fields.ip_version,
        subnet=fields.subnet,
        ips=fields.ips,
        exclude_ips=fields.exclude_ips,
        gateway=fields.gateway,
        routes=tuple(Route(route.dst, route.gw) for route in fields.routes),
        default=fields.default,
        disable=fields.disable,
    )


def _without_nulls(resource: dict[str, Any]) -> dict[str, Any]:
    """The resource with the fields of `spec` that are null left out, as kubectl means them."""
    spec: Any = resource.get("spec")
    if not isinstance(spec, dict):
        return resource
    fields = cast(dict[str, Any], spec)
    return {**resource, "spec": {k: v for k, v in fields.items() if v is not None}}


def _explained(source: str, document: Document, message: str) -> ManifestError:
    """msgspec's message as field, value and reason."""
    match = _AT.fullmatch(message)
    assert match is not None
    field = (match["path"] or "").removesuffix("[...]")
    unknown = _UNKNOWN.fullmatch(match["what"])
    if unknown is not None:
        field = f"{field}.{unknown['name']}".lstrip(".")
        later = field.removeprefix("spec.") in _LATER_FIELDS
        why = "not supported by this release" if later else "unknown"
        return ManifestError(source, document, field, f"field {field}: {why}")
    missing = re.fullmatch(r"Object missing required field `(.*)`", match["what"])
    if missing is not None:
        field = f"{field}.{missing[1]}".lstrip(".")
        return ManifestError(source, document, field, f"{field}: is required")
    what = f"{field}: {_shown(document.at(field))} is wrong: {match['what'].lower()}"
    return ManifestError(source, document, field, what)


def _shown(value: object) -> str:
    return "(nothing)" if value is None else repr(value)


def _place(document: Document | Malformed, field: str) -> str:
    if isinstance(document, Malformed):
        return f"line {document.line}, column {document.column}"
    return f"line {document.line(field)}"


def _identity(document: Document | Malformed) -> tuple[str, str]:
    """Kind and name as far as they can be read."""
    if isinstance(document, Malformed):
        return "", ""
    kind, name = document.at("kind"), document.at("metadata.name")
    return (kind if isinstance(kind, str) else ""), (name if isinstance(name, str) else "")
