"""What a cluster is, write by write: the truth that API servers tell of, sooner or later.

It remembers every version, so that a server can be behind, and can be put back to what it was.
Objects are never changed in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from simulation.world import World

Object: TypeAlias = dict[str, Any]
Key: TypeAlias = tuple[str, str]
"""Namespace and name."""
Objects: TypeAlias = Mapping[str, Mapping[Key, Object]]

_BUMP = 1000
"""How far `etcdutl snapshot restore --bump-revision` sets the revision forth, where it is used."""


class Version(NamedTuple):
    """All objects from a time on, and the event that made them so; without one, nothing did."""

    at: float
    revision: int
    objects: Objects
    plural: str = ""
    event: str = ""
    object: Object = {}  # noqa: RUF012  # never changed


@dataclass(eq=False, slots=True)
class Etcd:
    """Versions in their order. `compacted` is the newest one that cannot be watched from."""

    world: World
    versions: list[Version] = field(default_factory=lambda: [Version(0.0, 100, {})])
    compacted: int = 0

    @property
    def revision(self) -> int:
        """That of the last write."""
        return self.versions[-1].revision

    def get(self, plural: str, key: Key) -> Object | None:
        """An object as it is now."""
        return self.versions[-1].objects.get(plural, {}).get(key)

    def all(self, plural: str) -> Mapping[Key, Object]:
        """All objects of a kind as they are now."""
        return self.versions[-1].objects.get(plural, {})

    def write(self, plural: str, key: Key, after: Object | None) -> None:
        """Create, change or delete (None) an object."""
        last = self.versions[-1]
        of_kind = dict(last.objects.get(plural, {}))
        before = of_kind.pop(key, None)
        told = after if after is not None else before
        assert told is not None, f"{plural} {key} is not there"
        revision = last.revision + 1
        metadata = {
            **told["metadata"],
            "namespace": key[0],
            "name": key[1],
            "resourceVersion": str(revision),
        }
        told = {**told, "metadata": metadata}
        if after is not None:
            of_kind[key] = told
        event = "DELETED" if after is None else "ADDED" if before is None else "MODIFIED"
        objects = {**last.objects, plural: of_kind}
        now = self.world.loop.time()
        self.versions.append(Version(now, revision, objects, plural, event, told))

    def version_at(self, when: float) -> Version:
        """The version that was the last one at a time."""
        for version in reversed(self.versions):
            if version.at <= when:
                return version
        return self.versions[0]

    def restore(self, when: float, *, bumped: bool) -> None:
        """Make everything as it was. What was written since has never been.

        Versions are counted from there on again, as etcd does it, unless they are `bumped`: set
        forth, so that nobody takes a new version for one that it has seen.
        """
        old = self.version_at(max(when, 0.0))
        while self.versions[-1] is not old:
            self.versions.pop()
        revision = old.revision + (_BUMP if bumped else 0)
        if bumped:
            self.compacted = revision
        self.versions.append(Version(self.world.loop.time(), revision, old.objects))
