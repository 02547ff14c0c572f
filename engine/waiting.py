"""What waits to be decided: in the order in which it came, and no more than there is room for.

A node may have only a part of the room, so that one that floods leaves the rest to the others.
What came in a long message takes several places, so that bytes are bounded with them.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")

QUEUE_MAX = 16_384
"""Places for requests that wait; one more is answered "try again" at once."""

NODE_MAX = 256
"""Places of one node: for all that its agent sends at once (cni/handler.py)."""

_PLACE_BYTES = 4096
"""A request takes one place, and one more for each so many bytes of its payload."""

_OTHERS = 2
"""What comes from no node may have one part of so many, and leaves the rest to nodes."""


def places(payload: bytes) -> int:
    """How many places a request takes that came in this payload, or its refusal counts for."""
    return 1 + len(payload) // _PLACE_BYTES


class Waiting(Generic[T]):
    """A bounded queue. Node '' stands for whatever comes from none: operators and queries."""

    def __init__(self, queue_max: int = QUEUE_MAX, node_max: int = NODE_MAX) -> None:
        self._queue_max = queue_max
        self._node_max = node_max
        self._others_max = max(1, queue_max // _OTHERS)
        self._items: deque[tuple[T, str, int]] = deque()
        self._taken = 0
        self._of: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._items)

    def has_room(self, node: str) -> bool:
        """Whether one more of a node may wait: it may be longer than the room that is left."""
        most = self._node_max if node else self._others_max
        return self._taken < self._queue_max and self._of.get(node, 0) < most

    def put(self, item: T, node: str, places: int = 1) -> bool:
        """Let an item wait behind the others. False if there is no room."""
        if not self.has_room(node):
            return False
        self._items.append((item, node, places))
        self._take_places(node, places)
        return True

    def take(self) -> T:
        """The item that came first."""
        item, node, places = self._items.popleft()
        self._taken -= places
        left = self._of[node] - places
        if left:
            self._of[node] = left
        else:
            del self._of[node]
        return item

    def put_back(self, item: T, node: str, places: int = 1) -> None:
        """Let an item that was taken wait before the others."""
        self._items.appendleft((item, node, places))
        self._take_places(node, places)

    def _take_places(self, node: str, places: int) -> None:
        self._taken += places
        self._of[node] = self._of.get(node, 0) + places
