"""The whole structure of an object as plain values, private parts included."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from ipledger.projections.allocations import Allocations
from ipledger.projections.fence import EndedAttachments
from ipledger.projections.shared import Shared

LOOKED_UP = ("_by_identity", "_ended_at", "auto", "by_place", "by_prefix", "of_pod", "of_sandbox")
"""Slots with mappings in which things are looked up by key, and whose order nothing depends on."""


def deep(value: Any) -> object:
    """Lists, tuples and scalars that are equal exactly if two objects are the same inside.

    Which of two equal values is shared is no difference.
    """
    if isinstance(value, Shared):
        return "shared"
    if isinstance(value, Allocations):
        _ = value.keys  # made when first asked for, and by then the same
    if isinstance(value, EndedAttachments):
        _ = value.by_name
    if isinstance(value, msgspec.Struct):
        return type(value).__name__, [deep(getattr(value, f)) for f in value.__struct_fields__]
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value).items()
        return "mapping", [(deep(key), deep(item)) for key, item in pairs]
    if isinstance(value, list | tuple | deque):
        items = cast("list[object]", value)
        return type(items).__name__, [deep(item) for item in items]
    slots: tuple[str, ...] | None = getattr(value, "__slots__", None)
    if slots is not None:
        return value.__class__.__name__, [(slot, _slot(slot, value)) for slot in slots]
    assert isinstance(value, int | str | bytes | None), type(value)
    return value


def _slot(slot: str, value: object) -> object:
    held = getattr(value, slot)
    return _sorted(held) if slot in LOOKED_UP else deep(held)


def _sorted(value: object) -> object:
    if not isinstance(value, Mapping):
        return deep(value)
    pairs = cast("Mapping[object, object]", value).items()
    return "mapping", sorted(((deep(key), _sorted(item)) for key, item in pairs), key=repr)
