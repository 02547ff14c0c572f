"""Attachments that a CNI DEL has ended: an ADD for one of them comes too late."""

from __future__ import annotations

from collections import deque

from ipledger.projections.allocations import Attachment

FENCE_MICROS = 120 * 1_000_000
"""How long an ended attachment is remembered: twice the longest time an agent tries an ADD."""


class EndedAttachments:
    """Which attachments ended within the last FENCE_MICROS, by the log's own time.

    They are found by name from the first question on; a fold that is asked nothing keeps their
    order alone (ADR 100).
    """

    __slots__ = ("_ended_at", "_order")

    def __init__(self) -> None:
        self._ended_at: dict[Attachment, int] | None = None
        self._order: deque[tuple[int, Attachment]] = deque()

    def end(self, attachment: Attachment, now: int) -> None:
        """An attachment is over."""
        self._order.append((now, attachment))
        if self._ended_at is not None:
            self._ended_at[attachment] = now

    def forget(self) -> None:
        """Let go of those that were old enough when the newest one ended."""
        order, known = self._order, self._ended_at
        if not order:
            return
        until = order[-1][0] - FENCE_MICROS
        while order[0][0] <= until:  # the newest never is
            ended_at, attachment = order.popleft()
            if known is not None and known.get(attachment) == ended_at:
                del known[attachment]

    def ended_at(self, attachment: Attachment, now: int) -> int | None:
        """When it ended (microseconds, Unix), None if it did not or is forgotten by `now`."""
        ended_at = self.by_name.get(attachment)
        return None if ended_at is None or ended_at <= now - FENCE_MICROS else ended_at

    @property
    def by_name(self) -> dict[Attachment, int]:
        """When each attachment ended last, as it is from here on."""
        if self._ended_at is None:
            self._ended_at = {attachment: ended_at for ended_at, attachment in self._order}
        return self._ended_at

    def frozen(self) -> list[tuple[int, Attachment]]:
        """When each attachment ended, in order. To `end` them in this order restores them."""
        return list(self._order)
