"""What an API server keeps: objects by revision, and the events that led to them.

Objects are never changed in place: a write makes a new one, so that older states of the whole
store stay as they were for lists that go on. Events are found by topic, so that a watch of one
node's pods costs nothing for those of all others, as in a real one's cache.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any

from support.apiserver.errors import StatusError
from support.apiserver.selectors import Object, Selects

Key = tuple[str, str]
Topic = tuple[str, str]
"""Events of a resource; of pods also those of one node, which 200 agents watch."""
_ANY: Topic = ("", "")
TOO_OLD = "The provided continue parameter is too old to display a consistent list result."


@dataclass(frozen=True)
class Event:
    """One write. `before` is None for a creation, `after` for a deletion."""

    revision: int
    resource: str
    before: Object | None
    after: Object | None

    @property
    def topics(self) -> set[Topic]:
        """What it is an event of."""
        found = {(self.resource, "")}
        if self.resource == "pods":
            sides = (self.before or {}, self.after or {})
            found |= {("pods", side.get("spec", {}).get("nodeName", "")) for side in sides}
        return found

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
    _shared: set[str] = field(default_factory=set[str])
    _of_topic: dict[Topic, list[Event]] = field(default_factory=dict[Topic, list[Event]])
    _news: dict[Topic, asyncio.Event] = field(default_factory=dict[Topic, asyncio.Event])

    def get(self, resource: str, key: Key) -> Object | None:
        """An object."""
        return self._objects.get(resource, {}).get(key)

    def write(self, resource: str, key: Key, after: Object | None) -> Object:
        """Create, change (`after`) or delete (None) an object, and return how it is then."""
        before = self.get(resource, key)
        self.revision += 1
        version = {"resourceVersion": str(self.revision)}
        objects = self._own(resource)
        if after is not None:
            after = {**after, "metadata": {**after["metadata"], **version}}
            objects[key] = after
        else:
            del objects[key]
        self._changed[resource] = self.revision
        self._tell(Event(self.revision, resource, before, after))
        found = after or before
        assert found is not None
        return found

    def _own(self, resource: str) -> dict[Key, Object]:
        """The objects of a resource, to be changed: a copy if a list that goes on has them."""
        if resource in self._shared:
            self._shared.discard(resource)
            self._objects[resource] = dict(self._objects[resource])
        return self._objects.setdefault(resource, {})

    def _tell(self, event: Event) -> None:
        self.events.append(event)
        for topic in event.topics:
            self._of_topic.setdefault(topic, []).append(event)
            self._wake(topic)
        self._wake(_ANY)

    def since(self, topic: Topic, revision: int) -> list[Event]:
        """The events of a topic behind a revision."""
        events = self._of_topic.get(topic, [])
        return events[bisect_right(events, revision, key=lambda event: event.revision) :]

    def last_of(self, resource: str) -> int:
        """The revision of the last event of a resource."""
        events = self._of_topic.get((resource, ""))
        return events[-1].revision if events else 0

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
        for topic in list(self._news):
            self._wake(topic)

    def _wake(self, topic: Topic) -> None:
        news = self._news.pop(topic, None)
        if news is not None:
            news.set()

    async def wait(self, timeout_s: float, topic: Topic = _ANY) -> None:
        """Until there is news of a topic, or the time is up."""
        news = self._news.setdefault(topic, asyncio.Event())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(news.wait(), timeout_s)

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
            self._shared.update(objects)
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
