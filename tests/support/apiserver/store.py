"""What an API server keeps: objects by revision, and the events that led to them.

Objects are never changed in place: a write makes a new one, so that older states of the whole
store stay as they were for lists that go on.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from dataclasses import dataclass, field
from typing import Any

from support.apiserver.errors import StatusError
from support.apiserver.selectors import Object, Selects

Key = tuple[str, str]
TOO_OLD = "The provided continue parameter is too old to display a consistent list result."


@dataclass(frozen=True)
class Event:
    """One write. `before` is None for a creation, `after` for a deletion."""

    revision: int
    resource: str
    before: Object | None
    after: Object | None

    def told(self, selects: Selects) -> tuple[str, Object] | None:
        """The event as a watch with that selection has it."""
        was = self.before is not None and selects(self.before)
        is_now = self.after is not None and selects(self.after)
        if is_now:
            assert self.after is not None
            return ("MODIFIED" if was else "ADDED"), self.after
        if was:
            assert self.before is not None
            version = {"resourceVersion": str(self.revision)}
            last = self.after or self.before
            return "DELETED", {**last, "metadata": {**last["metadata"], **version}}
        return None


@dataclass
class Store:
    """All objects. `revision` counts writes, as etcd does."""

    revision: int = 100
    compacted: int = 0
    events: list[Event] = field(default_factory=list[Event])
    _started: int = 100
    _changed: dict[str, int] = field(default_factory=dict[str, int])
    _objects: dict[str, dict[Key, Object]] = field(default_factory=dict[str, dict[Key, Object]])
    _kept: dict[int, dict[str, dict[Key, Object]]] = field(default_factory=dict[int, Any])
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def get(self, resource: str, key: Key) -> Object | None:
        """An object."""
        return self._objects.get(resource, {}).get(key)

    def write(self, resource: str, key: Key, after: Object | None) -> Object:
        """Create, change (`after`) or delete (None) an object, and return how it is then."""
        before = self.get(resource, key)
        self.revision += 1
        version = {"resourceVersion": str(self.revision)}
        if after is not None:
            after = {**after, "metadata": {**after["metadata"], **version}}
            self._objects[resource] = {**self._objects.get(resource, {}), key: after}
        else:
            left = self._objects[resource]
            self._objects[resource] = {k: o for k, o in left.items() if k != key}
        self._changed[resource] = self.revision
        self.events.append(Event(self.revision, resource, before, after))
        self.notify()
        found = after or before
        assert found is not None
        return found

    def cached(self, resource: str) -> int:
        """The revision that the cache of a kind is at: that of the kind's last change.

        What is written of other kinds does not move it: before Kubernetes 1.27 or so nobody asks
        etcd how far it is. Events have no cache.
        """
        if resource == "events":
            return self.revision
        return min(self._changed.get(resource, self._started), self.revision)

    def fill_caches(self) -> None:
        """A server that starts fills its caches from etcd, at the present revision."""
        self._changed.clear()
        self._started = self.revision

    def fill_cache(self, resource: str) -> None:
        """The same for one kind, which has just been defined."""
        self._changed[resource] = self.revision

    def notify(self) -> None:
        """Wake every watch."""
        self._news.set()
        self._news = asyncio.Event()

    async def wait(self, timeout_s: float) -> None:
        """Until there is news, or the time is up."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), timeout_s)

    def compact(self) -> None:
        """Forget all but the present and what led to it, as etcd does every five minutes."""
        self.compacted = self.revision
        self.events = [event for event in self.events if event.revision == self.compacted]
        self._kept.clear()
        self.notify()

    def list(
        self, resource: str, namespace: str, selects: Selects, limit: int, token: str
    ) -> tuple[list[Object], dict[str, Any]]:
        """A part of a list, and the list's metadata."""
        revision, after = self._continued(token) if token else (self.revision, None)
        objects = self._objects if revision == self.revision else self._kept[revision]
        found = [
            (key, found)
            for key, found in sorted(objects.get(resource, {}).items())
            if (after is None or key > after)
            and (not namespace or key[0] == namespace)
            and selects(found)
        ]
        metadata: dict[str, Any] = {"resourceVersion": str(revision)}
        if limit and len(found) > limit:
            self._kept[revision] = dict(objects)
            metadata["continue"] = _token(revision, found[limit - 1][0])
            found = found[:limit]
        return [one for _, one in found], metadata

    def _continued(self, token: str) -> tuple[int, Key]:
        try:
            revision, namespace, name = json.loads(base64.urlsafe_b64decode(token))
        except ValueError as error:
            raise StatusError("BadRequest", f"continue key is not valid: {error}") from error
        if revision < self.compacted or (revision != self.revision and revision not in self._kept):
            fresh = _token(self.revision, (namespace, name))
            raise StatusError("Expired", TOO_OLD, metadata={"continue": fresh})
        return revision, (namespace, name)


def _token(revision: int, key: Key) -> str:
    return base64.urlsafe_b64encode(json.dumps([revision, *key]).encode()).decode()
