"""Attachments that a CNI DEL has ended: an ADD for one of them comes too late."""

from __future__ import annotations

from collections import deque

from ipledger.projections.allocations import Attachment

FENCE_MICROS = 120 * 1_000_000
"""How long an ended attachment is remembered: twice the longest time an agent tries an ADD."""

_NEVER = -(1 << 63)


class EndedAttachments:
    """Which attachments ended within the last FENCE_MICROS, by the log's own time.

    They are found by name from the first question on; a fold that is asked nothing keeps their
    order alone (ADR 100).
    """

    __slots__ = ("_ended_at", "_newest", "_newest_at", "_order")

    def __init__(self) -> None:
        self._newest_at = _NEVER
        self._newest: list[Attachment] = []
        self._ended_at: dict[Attachment, int] | None = None
        self._order: deque[tuple[int, list[Attachment]]] = deque()

    def end(self, attachment: Attachment, now: int) -> None:
        """An attachment is over."""
        if now != self._newest_at:
            self._newest_at, self._newest = now, []
            self._order.append((now, self._newest))
        self._newest.append(attachment)
        if self._ended_at is not None:
            self._ended_at[attachment] = now

    def forget(self) -> None:
        """Let go of those that were old enough when the newest one ended."""
        order, until = self._order, self._newest_at - FENCE_MICROS
        while order and order[0][0] <= until:
            self._forget_by_name(*order.popleft())

    def _forget_by_name(self, ended_at: int, attachments: list[Attachment]) -> None:
        known = self._ended_at
        if known is None:
            return
        for attachment in attachments:
            if known.get(attachment) == ended_at:
                del known[attachment]

    def ended_at(self, attachment: Attachment, now: int) -> int | None:
        """When it ended (microseconds, Unix), None if it did not or is forgotten by `now`."""
        ended_at = self.by_name.get(attachment)
        return None if ended_at is None or ended_at <= now - FENCE_MICROS else ended_at

    @property
    def by_name(self) -> dict[Attachment, int]:
        """When each attachment ended last, as it is from here on."""
        if self._ended_at is None:
            self._ended_at = {attachment: ended_at for ended_at, attachment in self.frozen()}
        return self._ended_at

    def frozen(self) -> list[tuple[int, Attachment]]:
        """When each attachment ended, in order. To `end` them in this order restores them."""
        return [(ended_at, each) for ended_at, those in self._order for each in those]
