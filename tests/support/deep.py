"""The whole structure of an object as plain values, private parts included."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, cast

import msgspec


def deep(value: Any) -> object:
    """Lists, tuples and scalars that are equal exactly if two objects are the same inside."""
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
        return value.__class__.__name__, [(slot, deep(getattr(value, slot))) for slot in slots]
    assert isinstance(value, int | str | bytes | None), type(value)
    return value
