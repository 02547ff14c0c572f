"""YAML and JSON text as documents that know on which line each of their fields stands.

JSON is read as the YAML that it is. Scalars mean what they mean to kubectl: YAML 1.1's base 60
would read the address 2001:1:2:3:4:5:6:7 as a number, and its dates have no use here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from ipledger.kube.yaml_size import Measure

_REPEATED_DEPTH = 3
"""How deep repeated fields are looked for."""

_INT = re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$")
_FLOAT = re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$")
_INDEX_DIGITS_MAX = 9
_KEPT = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:merge")
_TYPES = ("null", "bool", "int", "float", "str", "seq", "map")
"""What a tag such as `!!int` may say; the others are not JSON's."""


class _Loader(yaml.CSafeLoader):
    """The safe loader, less the scalars and types that only YAML 1.1 knows."""


_Loader.yaml_constructors = {
    tag: construct
    for tag, construct in yaml.CSafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in _TYPES
}

_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in _KEPT]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


@dataclass(frozen=True, slots=True)
class Malformed:
    """Text that is no YAML, and where. `line` and `column` count from 1."""

    number: int
    line: int
    column: int
    problem: str


@dataclass(frozen=True, slots=True)
class Document:
    """One document, or one item of a list. `number` counts documents from 1."""

    number: int
    value: Any
    node: yaml.Node

    def line(self, field: str) -> int:
        """The line (from 1) of a field such as `spec.routes[0].gw`, or of what is nearest to it."""
        node = self.node
        line = node.start_mark.line
        for step in path(field):
            found = _child(node, step)
            if found is None:
                break
            line, node = found
        return line + 1

    def at(self, field: str) -> object:
        """The value of a field, None where there is none."""
        return value_at(self.value, field)

    def repeated(self) -> str | None:
        """A field that is there twice, of which YAML would drop one."""
        return _repeated(self.node, "")

    def items(self) -> Iterator[Document]:
        """The items of a `kind: List`."""
        found = _child(self.node, "items")
        if found is not None and isinstance(found[1], yaml.SequenceNode):
            for value, node in zip(self.value["items"], found[1].value, strict=True):
                yield Document(self.number, value, node)


def value_at(value: Any, field: str) -> object:
    """The value of a field below a value, None where there is none."""
    for step in path(field):
        try:
            value = value[step]
        except (LookupError, TypeError):
            return None
    return value


def path(field: str) -> list[str | int]:
    """The steps to a field.

    >>> path("spec.routes[0].gw")
    ['spec', 'routes', 0, 'gw']
    """
    return [_step(text) for text in re.findall(r"[^.\[\]]+", field)]


def _step(text: str) -> str | int:
    return int(text) if text.isdecimal() and len(text) <= _INDEX_DIGITS_MAX else text


def read(text: str) -> Iterator[Document | Malformed]:
    """The documents of a text that are not empty; what is malformed ends it."""
    too_large = _too_large(text)
    if too_large is not None:
        yield too_large
        return
    number = 1
    try:
        loader = _Loader(text)
        while loader.check_node():
            node = loader.get_node()
            value = None if node is None else loader.construct_document(node)
            if node is not None and value is not None:
                yield Document(number, value, node)
            number += 1
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        yield _malformed(number, mark, f"not YAML: {error.problem}")
    except yaml.YAMLError as error:
        yield _malformed(number, None, f"not YAML: {str(error).splitlines()[0]}")
    except (ValueError, LookupError) as error:  # `!!int x` and the like
        yield _malformed(number, None, f"a scalar that is not what its tag says: {error}")


def _malformed(number: int, mark: Any, problem: str) -> Malformed:
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return Malformed(number, line, column, problem)


def _too_large(text: str) -> Malformed | None:
    number, measure = 0, Measure()
    try:
        for event in yaml.parse(text, _Loader):
            if isinstance(event, yaml.DocumentStartEvent):
                number, measure = number + 1, Measure()
            problem = measure.enter(event)
            if problem:
                return _malformed(number, event.start_mark, problem)
    except yaml.YAMLError:
        pass  # `read` comes to the same place and reports it behind what is good
    return None


def _repeated(node: yaml.Node, at: str) -> str | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    seen: set[str] = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        field = f"{at}.{key.value}".lstrip(".")
        if key.value in seen:
            return field
        seen.add(key.value)
        below = _repeated(value, field) if at.count(".") < _REPEATED_DEPTH else None
        if below is not None:
            return below
    return None


def _child(node: yaml.Node, step: str | int) -> tuple[int, yaml.Node] | None:
    """The line of a key or item, and its value."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == step:
                return key.start_mark.line, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        item = node.value[step]
        return item.start_mark.line, item
    return None
