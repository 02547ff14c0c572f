"""Unknown fields of a command, also within the facts that it carries.

The types of `events.facts` let unknown fields pass, since a client must be able to read what a
newer engine answers. In a command each would be a wish that is ignored, so it is refused here
(ADR 92).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import msgspec
from msgspec import inspect

Check: TypeAlias = Callable[[Any, str], None]
"""Looks at a decoded value, which is of the right type, and is told where it is."""

_decode = msgspec.json.Decoder().decode


def check_known(type_: type[msgspec.Struct], payload: bytes) -> None:
    """Raise `msgspec.ValidationError` for a field that a type does not have, at any depth.

    The payload is one that decodes to the type.
    """
    _check_of(type_)(_decode(payload), "$")


@cache
def _check_of(type_: type[msgspec.Struct]) -> Check:
    check = _of(inspect.type_info(type_))
    assert check is not None
    return check


def _of(type_: inspect.Type) -> Check | None:
    """The check of a type, None where anything may be."""
    match type_:
        case inspect.StructType():
            return _of_struct(type_)
        case inspect.VarTupleType():
            return _of_items(_of(type_.item_type))
        case inspect.UnionType():
            return _of_union(type_)
        case _:
            return None


def _of_struct(type_: inspect.StructType) -> Check:
    fields = {field.encode_name: _of(field.type) for field in type_.fields}
    if type_.tag_field is not None:
        fields[type_.tag_field] = None

    def check(value: dict[str, object], path: str) -> None:
        for name, inner in value.items():
            if name not in fields:
                what = f"Object contains unknown field `{name}` - at `{path}`"
                raise msgspec.ValidationError(what)
            deeper = fields[name]
            if deeper is not None:
                deeper(inner, f"{path}.{name}")

    return check


def _of_items(deeper: Check | None) -> Check | None:
    if deeper is None:
        return None

    def check(value: list[object], path: str) -> None:
        for number, inner in enumerate(value):
            deeper(inner, f"{path}[{number}]")

    return check


def _of_union(type_: inspect.UnionType) -> Check | None:
    """Of structs, the one that the tag says; of one and None, that one."""
    structs = {
        one.tag: _of_struct(one) for one in type_.types if isinstance(one, inspect.StructType)
    }
    tags = {one.tag_field for one in type_.types if isinstance(one, inspect.StructType)}
    if not structs:
        return None
    (tag_field,) = tags

    def check(value: dict[str, Any] | None, path: str) -> None:
        if value is not None:
            structs[value[tag_field] if tag_field else None](value, path)

    return check
