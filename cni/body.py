"""The network configuration as JSON: decoded to a type, with errors that name the fault."""

from __future__ import annotations

import re
from typing import TypeAlias, TypeVar

import msgspec

from ipledger.cni.errors import CniError, Code
from ipledger.events.quoting import QUOTE_MAX, cut

T = TypeVar("T")

_Json: TypeAlias = dict[str, "_Json"] | list["_Json"] | str | int | float | bool | None

_PATH = re.compile(r" - at `\$(.*)`$")
_INDEX = re.compile(r"\[(\d+)\]")
_ANY_KEY = "[...]"  # msgspec does not say under which key of a map the fault is


def decode_body(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decode. Raises `CniError`: code 7 with field and value, code 6 for what is not JSON."""
    try:
        return _decode(decoder, body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = "the network configuration on stdin is not JSON"
        raise CniError(Code.DECODING_FAILURE, message, str(error)) from None
    except RecursionError:
        message = "the network configuration on stdin is nested too deeply"
        raise CniError(Code.DECODING_FAILURE, message) from None


def _decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), body) from None


def invalid(field: str, value: _Json, what: str) -> CniError:
    """The error for a field of the network configuration that holds a wrong value."""
    shown = cut(msgspec.json.encode(value).decode(), QUOTE_MAX)
    return CniError(Code.INVALID_NETWORK_CONFIG, f"{field}: {shown} is not valid: {what}")


def _invalid(error: str, body: bytes) -> CniError:
    path = _PATH.search(error)
    field, value = _find(msgspec.json.decode(body), path.group(1) if path else "")
    what = error.partition(" - at ")[0]
    return invalid(field.lstrip(".") or "network configuration", value, what)


def _find(value: _Json, path: str) -> tuple[str, _Json]:
    """The name and value that `path` leads to, or as far as it leads.

    It may lead nowhere: of a key that comes twice, msgspec checks both, but only one is kept.
    """
    step = _step(value, path)
    if step is None:
        return "", value
    name, inner, rest = step
    deeper, found = _find(inner, rest)
    return name + deeper, found


def _step(value: _Json, path: str) -> tuple[str, _Json, str] | None:
    """The first part of `path`, what it leads to, and the rest of `path`."""
    if isinstance(value, dict):
        return _step_into_map(value, path)
    index = _INDEX.match(path)
    if isinstance(value, list) and index and int(index[1]) < len(value):
        return index[0], value[int(index[1])], path[index.end() :]
    return None


def _step_into_map(value: dict[str, _Json], path: str) -> tuple[str, _Json, str] | None:
    if path.startswith(_ANY_KEY):
        wrong = (key for key, item in value.items() if not isinstance(item, str))
        keys = [(f'["{key}"]', key, path[len(_ANY_KEY) :]) for key in wrong]
    else:
        # A key may have dots in it, as `io.kubernetes.cri.pod-annotations` has.
        fits = (key for key in value if f"{path}.".startswith((f".{key}.", f".{key}[")))
        keys = [(f".{key}", key, path[len(key) + 1 :]) for key in fits]
    if not keys:
        return None
    name, key, rest = max(keys, key=lambda found: len(found[1]))
    return name, value[key], rest
