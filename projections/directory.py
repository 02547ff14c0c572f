"""Pools by all that they are looked up by besides their name: kept in step by `evolve`."""

from __future__ import annotations

import copy
from bisect import insort
from typing import NamedTuple

from ipledger.events.facts import PoolSpec
from ipledger.projections.applications import ApplicationKey, key_of_owner
from ipledger.projections.name_index import NameIndex
from ipledger.projections.prefixes import Prefixes


class AutoKey(NamedTuple):
    """What an auto pool is found by: there is one for each, while it is not terminating."""

    application: ApplicationKey
    interface: str
    ip_version: int


def auto_key(spec: PoolSpec) -> AutoKey | None:
    """The key of an auto pool, None for a pool that somebody applied."""
    auto = spec.auto
    if auto is None:
        return None
    key = key_of_owner(auto.owner, auto.namespace)
    return AutoKey(key, auto.interface, spec.ip_version)


class Directory:
    """Names of pools: the defaults and all of each IP version, those of a prefix, auto pools.

    The names of a family and of a prefix are in alphabetical order.
    """

    __slots__ = ("auto", "by_prefix", "defaults", "names", "prefixes")

    def __init__(self) -> None:
        self.defaults: dict[int, tuple[str, ...]] = {4: (), 6: ()}
        self.names: dict[int, NameIndex] = {4: NameIndex(()), 6: NameIndex(())}
        self.by_prefix: dict[str, tuple[str, ...]] = {}
        self.prefixes = Prefixes()
        self.auto: dict[AutoKey, str] = {}

    def enter(self, spec: PoolSpec, before: PoolSpec | None) -> None:
        """A pool has this specification from here on; `before` is what it had, if it was there."""
        version, name = spec.ip_version, spec.name
        if before is None:
            self.names[version] = NameIndex(_with(self.names[version].names, name))
            if spec.subnet not in self.by_prefix:
                self.prefixes.add(spec.subnet)
            self.by_prefix[spec.subnet] = _with(self.by_prefix.get(spec.subnet, ()), name)
        if spec.default != (before is not None and before.default):
            change = _with if spec.default else _without
            self.defaults[version] = change(self.defaults[version], name)
        key = auto_key(spec)
        if key is not None:
            self.auto[key] = name

    def terminate(self, spec: PoolSpec) -> None:
        """A pool gives out nothing any more, so that another may serve whom it served."""
        key = auto_key(spec)
        if key is not None and self.auto.get(key) == spec.name:
            del self.auto[key]

    def leave(self, spec: PoolSpec) -> None:
        """A pool is gone."""
        self.terminate(spec)
        version, name = spec.ip_version, spec.name
        self.names[version] = NameIndex(_without(self.names[version].names, name))
        self.defaults[version] = _without(self.defaults[version], name)
        rest = _without(self.by_prefix[spec.subnet], name)
        if rest:
            self.by_prefix[spec.subnet] = rest
        else:
            del self.by_prefix[spec.subnet]
            self.prefixes.remove(spec.subnet)

    def copied(self) -> Directory:
        """A directory of its own with the same content."""
        mine = copy.copy(self)
        mine.defaults, mine.names = dict(self.defaults), dict(self.names)
        mine.by_prefix, mine.auto = dict(self.by_prefix), dict(self.auto)
        mine.prefixes = self.prefixes.copied()
        return mine


def _with(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    more = list(names)
    insort(more, name)
    return tuple(more)


def _without(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(other for other in names if other != name)
