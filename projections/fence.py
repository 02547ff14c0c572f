"""Attachments that a CNI DEL has ended: an ADD for one of them comes too late."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

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
        self._ended_at: dict[str, dict[Attachment, int]] | None = None
        self._order: deque[tuple[int, Sequence[Attachment]]] = deque()

    def end(self, attachment: Attachment, now: int) -> None:
        """An attachment is over."""
        if now != self._newest_at:
            self._begin(now)
        self._newest.append(attachment)
        if self._ended_at is not None:
            _enter(self._ended_at, attachment, now)

    def _begin(self, now: int) -> None:
        order = self._order
        if order:  # a tuple of texts is none of the garbage collector's business, a list is
            order[-1] = self._newest_at, tuple(self._newest)
        self._newest_at, self._newest = now, []
        order.append((now, self._newest))

    def forget(self) -> None:
        """Let go of those that were old enough when the newest one ended."""
        order, until = self._order, self._newest_at - FENCE_MICROS
        while order and order[0][0] <= until:
            self._forget_by_name(*order.popleft())

    def _forget_by_name(self, ended_at: int, attachments: Sequence[Attachment]) -> None:
        shards = self._ended_at
        if shards is None:
            return
        for attachment in attachments:
            known = shards.get(attachment[0][-2:], {})
            if known.get(attachment) == ended_at:
                del known[attachment]
                if not known:
                    del shards[attachment[0][-2:]]

    def ended_at(self, attachment: Attachment, now: int) -> int | None:
        """When it ended (microseconds, Unix), None if it did not or is forgotten by `now`."""
        ended_at = self.by_name.get(attachment[0][-2:], {}).get(attachment)
        return None if ended_at is None or ended_at <= now - FENCE_MICROS else ended_at

    @property
    def by_name(self) -> dict[str, dict[Attachment, int]]:
        """When each attachment ended last, as it is from here on, by how its sandbox's name ends.

        One dict of them all would be made anew now and then as it grows, and nobody answered
        meanwhile.
        """
        if self._ended_at is None:
            self._ended_at = {}
            for ended_at, attachments in self._order:
                for attachment in attachments:
                    _enter(self._ended_at, attachment, ended_at)
        return self._ended_at

    def frozen(self) -> list[tuple[int, Sequence[Attachment]]]:
        """Which attachments ended when, in order. To `end` them in this order restores them."""
        ended = list(self._order)
        if ended:
            ended[-1] = self._newest_at, tuple(self._newest)
        return ended


def _enter(shards: dict[str, dict[Attachment, int]], attachment: Attachment, at: int) -> None:
    shards.setdefault(attachment[0][-2:], {})[attachment] = at
