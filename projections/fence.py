"""Attachments that a CNI DEL has ended: an ADD for one of them comes too late."""

from __future__ import annotations

from collections import deque

from ipledger.projections.allocations import Attachment

FENCE_MICROS = 120 * 1_000_000
"""How long an ended attachment is remembered: twice the longest time an agent tries an ADD."""


class EndedAttachments:
    """Which attachments ended within the last FENCE_MICROS, by the log's own time."""

    __slots__ = ("_ended_at", "_order")

    def __init__(self) -> None:
        self._ended_at: dict[Attachment, int] = {}
        self._order: deque[tuple[int, Attachment]] = deque()

    def __len__(self) -> int:
        return len(self._ended_at)

    def end(self, attachment: Attachment, now: int) -> None:
        """An attachment is over; those that are old enough are forgotten."""
        self._ended_at[attachment] = now
        self._order.append((now, attachment))
        until = now - FENCE_MICROS
        if self._order[0][0] <= until:
            self._forget(until)

    def _forget(self, until: int) -> None:
        while self._order and self._order[0][0] <= until:
            ended_at, oldest = self._order.popleft()
            if self._ended_at.get(oldest) == ended_at:
                del self._ended_at[oldest]

    def ended_at(self, attachment: Attachment, now: int) -> int | None:
        """When it ended (microseconds, Unix), None if it did not or is forgotten by `now`."""
        ended_at = self._ended_at.get(attachment)
        return None if ended_at is None or ended_at <= now - FENCE_MICROS else ended_at

    def frozen(self) -> list[tuple[int, Attachment]]:
        """When each attachment ended, in order. To `end` them in this order restores them."""
        return list(self._order)
