"""The fold of what a watch says: the objects as they are, and every change of them, once.

A list that is made again after a watch broke tells what is there, not what vanished meanwhile.
The mirror computes that: what it had and the list has not is deleted, and what has another UID
under the same name was deleted and added. No deletion is missed, however many events were.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from ipledger.projections.cluster.metadata import Key, Metadata, Object

O = TypeVar("O", bound=Object)  # noqa: E741


@dataclass(frozen=True, slots=True)
class Added(Generic[O]):
    """An object is there that was not."""

    object: O


@dataclass(frozen=True, slots=True)
class Modified(Generic[O]):
    """An object is like this now, and was like `before`."""

    object: O
    before: O


@dataclass(frozen=True, slots=True)
class Deleted(Generic[O]):
    """An object is gone; `object` is the last that was seen of it."""

    object: O


@dataclass(frozen=True, slots=True)
class Synced:
    """All objects of the list at `resource_version` have been told."""

    resource_version: str


Change: TypeAlias = Added[O] | Modified[O] | Deleted[O]


@dataclass(slots=True)
class Mirror(Generic[O]):
    """The objects of one kind and selection, as the changes so far leave them."""

    _objects: dict[Key, O] = field(default_factory=dict[Key, O])
    _listed: set[Key] = field(default_factory=set[Key])

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[O]:
        return iter(self._objects.values())

    def get(self, namespace: str, name: str) -> O | None:
        """The object of that name."""
        return self._objects.get(Key(namespace, name))

    def put(self, new: O) -> tuple[Change[O], ...]:
        """An object is like this now.

        A version that is known may be another one: a server that was put back counts them again.
        """
        key = new.key
        known = self._objects.get(key)
        if known == new:
            return ()
        self._objects[key] = new
        if known is None:
            return (Added(new),)
        if known.uid != new.uid:
            return (Deleted(known), Added(new))
        return (Modified(new, known),)

    def drop(self, gone: Metadata, last: O | None = None) -> tuple[Change[O], ...]:
        """An object is gone, and was `last` like that. One that has come under its name stays."""
        known = self._objects.get(gone.key)
        if known is None or known.uid != gone.uid:
            return ()
        del self._objects[gone.key]
        return (Deleted(last or known),)

    def begin_list(self) -> None:
        """A list begins; what was heard of an unfinished one counts as changes, no more."""
        self._listed = set()

    def put_page(self, page: Iterable[O], unreadable: Iterable[Key] = ()) -> list[Change[O]]:
        """A part of the list. What is there and cannot be read is left as it was."""
        self._listed.update(unreadable)
        changes: list[Change[O]] = []
        for found in page:
            self._listed.add(found.key)
            changes += self.put(found)
        return changes

    def end_list(self) -> list[Change[O]]:
        """The list is whole: what it does not have is gone."""
        vanished = [key for key in self._objects if key not in self._listed]
        self._listed = set()
        return [Deleted(self._objects.pop(key)) for key in vanished]
