"""How large a YAML document is once each alias stands for what it names.

A few hundred bytes of anchors can name each other to make billions of nodes ("billion laughs"), or
one that contains itself. A document is measured by its events, before any node of it is made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import yaml

_DEPTH_MAX = 64
"""Deeper nesting is refused: libyaml's constructor would overflow the C stack."""

_ALIASED_MAX = 100_000
"""Nodes that aliases may stand for in a document; what is written out is not limited."""


class _Size(NamedTuple):
    nodes: int
    height: int


_SCALAR = _Size(1, 0)


@dataclass(slots=True)
class _Open:
    """A mapping or sequence that has not ended."""

    anchor: str | None
    nodes: int = 1
    height: int = 0


@dataclass(slots=True)
class Measure:
    """Takes the events of one document in their order."""

    _open: list[_Open] = field(default_factory=list[_Open])
    _anchors: dict[str | None, _Size | None] = field(default_factory=dict[str | None, _Size | None])
    _aliased: int = 0

    def enter(self, event: yaml.Event) -> str:
        """What is wrong with the document as far as this event, '' if nothing is."""
        match event:
            case yaml.ScalarEvent():
                self._add(_SCALAR, event.anchor)
            case yaml.CollectionStartEvent():
                self._open.append(_Open(event.anchor))
                self._anchors[event.anchor] = None
            case yaml.CollectionEndEvent():
                ended = self._open.pop()
                self._add(_Size(ended.nodes, ended.height + 1), ended.anchor)
            case yaml.AliasEvent():
                return self._alias(event.anchor)
            case _:
                pass
        return "nested too deeply" if len(self._open) > _DEPTH_MAX else ""

    def _alias(self, anchor: str | None) -> str:
        size = self._anchors.get(anchor, _SCALAR)  # one without an anchor is no YAML: told later
        if size is None:
            return f"*{anchor} stands in what it names"
        self._aliased += size.nodes
        if self._aliased > _ALIASED_MAX:
            return f"*{anchor} and the aliases before it stand for more than {_ALIASED_MAX} nodes"
        if len(self._open) + size.height > _DEPTH_MAX:
            return "nested too deeply"
        self._add(size, None)
        return ""

    def _add(self, size: _Size, anchor: str | None) -> None:
        self._anchors[anchor] = size
        if self._open:
            above = self._open[-1]
            above.nodes += size.nodes
            above.height = max(above.height, size.height)
