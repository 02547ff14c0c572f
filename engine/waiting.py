"""What waits to be decided: in the order in which it came, and no more than there is room for.

A node may have only a part of the room, so that one that floods leaves the rest to the others.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")

QUEUE_MAX = 16_384
"""Requests that may wait; one more is answered "try again" at once."""

NODE_MAX = 256
"""Requests of one node that may wait: all that its agent sends at once (cni/handler.py)."""

_OTHERS = 2
"""What comes from no node may have one part of so many, and leaves the rest to nodes."""


class Waiting(Generic[T]):
    """A bounded queue. Node '' stands for whatever comes from none: operators and queries."""

    def __init__(self, queue_max: int = QUEUE_MAX, node_max: int = NODE_MAX) -> None:
        self._queue_max = queue_max
        self._node_max = node_max
        self._others_max = max(1, queue_max // _OTHERS)
        self._items: deque[tuple[T, str]] = deque()
        self._of: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._items)

    def has_room(self, node: str) -> bool:
        """Whether one more of a node may wait."""
        most = self._node_max if node else self._others_max
        return len(self._items) < self._queue_max and self._of.get(node, 0) < most

    def put(self, item: T, node: str) -> bool:
        """Let an item wait behind the others. False if there is no room."""
        if not self.has_room(node):
            return False
        self._items.append((item, node))
        self._of[node] = self._of.get(node, 0) + 1
        return True

    def take(self) -> tuple[T, str]:
        """The item that came first, and its node."""
        item, node = self._items.popleft()
        left = self._of[node] - 1
        if left:
            self._of[node] = left
        else:
            del self._of[node]
        return item, node

    def put_back(self, item: T, node: str) -> None:
        """Let an item that was taken wait before the others."""
        self._items.appendleft((item, node))
        self._of[node] = self._of.get(node, 0) + 1
