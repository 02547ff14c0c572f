"""Which pods are to be looked at, and when."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field


@dataclass(slots=True)
class Schedule:
    """Pods by UID, each at most once, at the soonest time that was asked for (microseconds)."""

    _at: dict[str, int] = field(default_factory=dict[str, int], init=False)
    _heap: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]], init=False)

    def __len__(self) -> int:
        return len(self._at)

    def add(self, uid: str, at: int) -> None:
        """Look at a pod then, or sooner if that was asked for."""
        if at < self._at.get(uid, at + 1):
            self._at[uid] = at
            heapq.heappush(self._heap, (at, uid))

    def next_at(self) -> int | None:
        """When the next one is due."""
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)  # asked for sooner since, and done
        return self._heap[0][0] if self._heap else None

    def due(self, now: int, count_max: int) -> list[str]:
        """Take those that are due, so many at most."""
        found: list[str] = []
        while len(found) < count_max and (at := self.next_at()) is not None and at <= now:
            uid = heapq.heappop(self._heap)[1]
            del self._at[uid]
            found.append(uid)
        return found
