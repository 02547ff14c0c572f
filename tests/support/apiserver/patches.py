"""JSON merge patch (RFC 7396) and the operations of JSON patch (RFC 6902)."""

from __future__ import annotations

import copy
from typing import Any, cast

from support.apiserver.errors import StatusError

Json = dict[str, Any]


def merged(target: Any, patch: Any) -> Any:
    """The target with a merge patch applied."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(cast(Json, target)) if isinstance(target, dict) else {}
    for key, value in cast(Json, patch).items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def patched(target: Any, operations: list[dict[str, Any]]) -> Any:
    """The target with the operations applied: add, remove, replace, test."""
    result = copy.deepcopy(target)
    for operation in operations:
        try:
            _apply(result, operation)
        except (LookupError, ValueError, TypeError) as error:
            raise StatusError("Invalid", f"the server rejected our request: {error!r}") from error
    return result


def _apply(root: Any, operation: dict[str, Any]) -> None:
    *parents, last = [
        part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]
    ]
    holder: Any = root
    for part in parents:
        holder = holder[int(part) if isinstance(holder, list) else part]
    is_list = holder.__class__ is list
    key: Any = last
    if is_list:
        key = len(holder) if last == "-" else int(last)
    match operation["op"]:
        case "add" if is_list:
            holder.insert(key, operation["value"])
        case "add":
            holder[key] = operation["value"]
        case "replace":
            holder[key]  # it must be there
            holder[key] = operation["value"]
        case "remove":
            del holder[key]
        case "test":
            if holder[key] != operation["value"]:
                raise ValueError(f"test of {operation['path']} failed")
        case other:
            raise ValueError(f"operation {other!r}")
