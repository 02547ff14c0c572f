"""Label and field selectors, as parameters of a call have them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from support.apiserver.errors import StatusError

Object = dict[str, Any]
Selects = Callable[[Object], bool]

_FIELDS = ("metadata.name", "metadata.namespace", "spec.nodeName", "status.phase")
_OF_PODS = ("spec.nodeName", "status.phase")
_SET = re.compile(r"\s*([^\s!=,]+)\s+(in|notin)\s+\(([^)]*)\)\s*")


def selects(labels: str, fields: str, plural: str) -> Selects:
    """What both selectors select. Raises `StatusError` for one that is wrong or not supported."""
    tests = [_label_test(term) for term in re.split(r",(?![^(]*\))", labels) if term.strip()]
    tests += [_field_test(term, plural) for term in fields.split(",") if term]
    return lambda found: all(test(found) for test in tests)


def _field_test(term: str, plural: str) -> Selects:
    match = re.fullmatch(r"([^=!]+)(==|=|!=)(.*)", term)
    if match is None:
        raise StatusError("BadRequest", f"invalid field selector: {term}")
    field, operator, value = match.groups()
    if field not in _FIELDS or (field in _OF_PODS and plural != "pods"):
        raise StatusError("BadRequest", f"field label not supported: {field}")
    section, key = field.split(".")
    return lambda found: (found.get(section, {}).get(key, "") == value) == (operator != "!=")


def _label_test(term: str) -> Selects:
    listed = _SET.fullmatch(term)
    if listed is not None:
        key, operator, values = listed.groups()
        wanted = [value.strip() for value in values.split(",")]
        if operator == "in":
            return lambda found: _labels(found).get(key) in wanted
        return lambda found: _labels(found).get(key) not in wanted
    match = re.fullmatch(r"\s*(!?)([^\s!=]+)\s*(?:(==|=|!=)\s*(\S*))?\s*", term)
    if match is None:
        raise StatusError("BadRequest", f"unable to parse requirement: {term}")
    absent, key, operator, value = match.groups()
    if operator is None:
        return lambda found: (key in _labels(found)) != bool(absent)
    return lambda found: (_labels(found).get(key) == value) == (operator != "!=")


def _labels(found: Object) -> dict[str, str]:
    return found["metadata"].get("labels") or {}
