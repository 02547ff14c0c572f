"""What an API server says in lists and watches, decoded.

An object that is not as its kind should be is logged, and is no change: it is neither added nor,
since it is there, deleted.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Generic

import msgspec

from ipledger.projections.cluster.kinds import Kind, O
from ipledger.projections.cluster.live.api import Status, decode
from ipledger.projections.cluster.metadata import Key, Metadata, Object

_log = logging.getLogger(__name__)


class _ListMetadata(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct):
    metadata: _ListMetadata
    items: list[msgspec.Raw] | None = None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Page(Generic[O]):
    """A part of a list. `continues` is the token of the next part, '' in the last.

    `unreadable` names the objects that are there and could not be read.
    """

    objects: list[O]
    unreadable: list[Key]
    resource_version: str
    continues: str


@dataclass(frozen=True, slots=True)
class Told(Generic[O]):
    """A watch event: ADDED, MODIFIED, DELETED or BOOKMARK. Of a bookmark only the version counts.

    `object` is None where it is none of the kind, or could not be read.
    """

    type: str
    metadata: Metadata
    object: O | None


class Decoding(Generic[O]):
    """The decoders of one kind."""

    def __init__(self, kind: Kind[O]) -> None:
        self._kind = kind.name
        self._list = msgspec.json.Decoder(_List)
        self._event = msgspec.json.Decoder(_Event)
        self._object = msgspec.json.Decoder(kind.shape)
        self._any = msgspec.json.Decoder(Object)
        self._status = msgspec.json.Decoder(Status)

    def page(self, answer: bytes) -> Page[O]:
        """A list's answer. Raises `ApiUnreachableError` if it is none."""
        found = decode(self._list, answer)
        page: Page[O] = Page([], [], found.metadata.resource_version, found.metadata.continue_)
        for item in found.items or ():
            read = self._read(item)
            if read is None:
                page.unreadable.append(decode(self._any, item).key)
            else:
                page.objects.append(read)
        return page

    def event(self, line: bytes) -> Told[O]:
        """A watch event. Raises the `ApiError` that it tells, or `ApiUnreachableError`."""
        event = decode(self._event, line)
        if event.type == "ERROR":
            raise decode(self._status, event.object).error()
        read = None if event.type == "BOOKMARK" else self._read(event.object)
        metadata = (read or decode(self._any, event.object)).metadata
        return Told(event.type, metadata, read)

    def _read(self, item: msgspec.Raw) -> O | None:
        try:
            return self._object.decode(item)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            which = decode(self._any, item).key
            _log.error("%s %s cannot be read and is left as it was: %s", self._kind, which, error)
            return None
