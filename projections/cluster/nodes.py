"""Nodes and namespaces."""

from __future__ import annotations

from ipledger.projections.cluster.metadata import Object, Shape


class _Condition(Shape, frozen=True):
    type: str
    status: str = "Unknown"


class _NodeStatus(Shape, frozen=True):
    conditions: tuple[_Condition, ...] = ()


class Node(Object, frozen=True):
    """A node."""

    status: _NodeStatus = _NodeStatus()

    @property
    def is_ready(self) -> bool:
        """Whether its kubelet says that it is ready, and is heard."""
        conditions = self.status.conditions
        return any(one.type == "Ready" and one.status == "True" for one in conditions)


class Namespace(Object, frozen=True):
    """A namespace: its labels and annotations are inputs of a decision."""
