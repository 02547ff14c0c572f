"""Spiderpool manifests and workloads: text to commands, each document by itself.

Only how a resource is written is known here and in `resources` (apiVersion, kind, field names,
types); whether it is allowed is decided in `engine`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from ipledger.engine.commands import AnyApply
from ipledger.events.quoting import cut, quote
from ipledger.kube.documents import Document, Malformed, read
from ipledger.kube.reading import read_resource
from ipledger.kube.resources import READERS, FieldError

_LIST_KIND = "List"


class ManifestError(Exception):
    """A document that cannot be used; the text says where, which field and which value."""

    def __init__(self, source: str, document: Document | Malformed, field: str, what: str) -> None:
        place = _place(document, field)
        super().__init__(f"{source}: document {document.number} ({place}): {cut(what)}")
        self.kind, self.name = _identity(document)


class Manifest:
    """A document that defines a resource; whether that is allowed is for the engine to say.

    `command` is what asks the engine for it.
    """

    def __init__(self, source: str, document: Document, command: AnyApply) -> None:
        self.command = command
        self.kind, self.name = _identity(document)
        self._source = source
        self._document = document

    def refused(self, field: str, message: str) -> ManifestError:
        """The engine's refusal of this resource, at the line of the field it names."""
        return ManifestError(self._source, self._document, field, message)


def parse(text: str, source: str) -> list[Manifest | ManifestError]:
    """Each resource of a text, or what is wrong with it. Text that is no YAML ends the list.

    `source` is the file's name, for the errors.
    """
    results: list[Manifest | ManifestError] = []
    for document in read(text):
        if isinstance(document, Malformed):
            results.append(ManifestError(source, document, "", document.problem))
        else:
            results.extend(_results(source, document))
    return results


def _results(source: str, document: Document) -> Iterator[Manifest | ManifestError]:
    is_list = document.at("kind") == _LIST_KIND and document.repeated() is None
    for resource in document.items() if is_list else (document,):
        try:
            yield _manifest(source, resource)
        except ManifestError as error:
            yield error


def _manifest(source: str, document: Document) -> Manifest:
    if not isinstance(document.value, dict):
        what = (
            f"{quote(document.value)} is not a resource (a mapping with apiVersion, kind, metadata)"
        )
        raise ManifestError(source, document, "", what)
    twice = document.repeated()
    if twice is not None:
        raise ManifestError(source, document, twice, f"field {twice}: is there twice")
    kind, api_version = document.at("kind"), document.at("apiVersion")
    reader = READERS.get(kind) if isinstance(kind, str) else None
    if reader is None or api_version != reader.api_version:
        field = "apiVersion" if reader else "kind"
        what = f"kind {_shown(kind)} of apiVersion {_shown(api_version)} is not supported"
        known = ", ".join(f"{kind} of {known.api_version}" for kind, known in READERS.items())
        raise ManifestError(source, document, field, f"{what}; this release knows {known}")
    try:
        return Manifest(source, document, read_resource(cast(dict[str, Any], document.value)))
    except FieldError as error:
        raise ManifestError(source, document, error.field, str(error)) from None


def _shown(value: object) -> str:
    return "(nothing)" if value is None else quote(value)


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
