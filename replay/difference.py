"""What differs between two moments, resource by resource and field by field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

from ipledger.engine import queries, reading
from ipledger.engine.answers import Change
from ipledger.projections.row_makers import allocation_row
from ipledger.projections.state import State

ADDED, REMOVED, CHANGED = "added", "removed", "changed"

Key: TypeAlias = tuple[str, str]
"""Kind and name; of an allocation its id, of a quarantine the address."""

Picture: TypeAlias = Mapping[Key, dict[str, Any]]
"""A moment: every resource as `get … -o json` prints it."""


class Difference(msgspec.Struct, frozen=True):
    """A resource that is in one moment and not in the other, or has other fields.

    `changes` are fields with their values before and after; of one that was added there is nothing
    before, of one that was removed nothing after.
    """

    kind: str
    name: str
    change: str
    changes: tuple[Change, ...]


def picture(state: State) -> Picture:
    """What a state holds: pools, subnets, reservations, quarantines, applications, allocations."""
    return dict(_resources(state))


def differences(before: Picture, after: Picture) -> Iterator[Difference]:
    """What leads from one picture to the other; those of a kind in the order they were made."""
    for key in {**before, **after}:
        old, new = before.get(key), after.get(key)
        if old != new:
            yield Difference(*key, _what(old, new), tuple(_changes(old or {}, new or {})))


def applied(before: Picture, found: Iterable[Difference]) -> Picture:
    """The picture that differences lead to."""
    after = {key: dict(fields) for key, fields in before.items()}
    for difference in found:
        key = difference.kind, difference.name
        if difference.change == REMOVED:
            del after[key]
            continue
        fields = after.setdefault(key, {})
        for change in difference.changes:
            fields[change.field] = change.after
            if change.after is None and change.before is not None:
                del fields[change.field]
    return after


def _what(old: object, new: object) -> str:
    if old is None:
        return ADDED
    return REMOVED if new is None else CHANGED


def _changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    for field in {**old, **new}:
        if old.get(field) != new.get(field) or (field in old) != (field in new):
            yield Change(field, old.get(field), new.get(field))


def _resources(state: State) -> Iterator[tuple[Key, dict[str, Any]]]:
    for pool in reading.pools(state, queries.Pools()):
        yield ("pool", pool.name), msgspec.to_builtins(pool)
    for subnet in reading.subnets(state, queries.Subnets()):
        yield ("subnet", subnet.name), msgspec.to_builtins(subnet)
    for reservation in reading.reservations(state, queries.Reservations()):
        yield ("reservation", reservation.name), msgspec.to_builtins(reservation)
    for row in reading.quarantines(state, queries.Quarantines()):
        yield ("quarantine", row.address), msgspec.to_builtins(row)
    for key, application in state.applications.items():
        yield ("application", str(key)), msgspec.to_builtins(application)
    for allocation in state.allocations.all():
        yield ("allocation", allocation.id), msgspec.to_builtins(allocation_row(allocation))
