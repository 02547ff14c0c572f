"""How many refusals are answered: each sender's first ones in a second, the rest are dropped.

An answer costs several times what it costs to see that a command cannot be served. A sender that
floods would have the engine write answers instead of serving the others; a client that gets none
tries again, more slowly (engine/client.py). What took long to read counts as several.
"""

from __future__ import annotations

from collections.abc import Callable

from ipledger.engine.waiting import places

ANSWERS_A_SECOND = 200


class Patience:
    """`monotonic` tells seconds."""

    def __init__(
        self, monotonic: Callable[[], float], answers_a_second: int = ANSWERS_A_SECOND
    ) -> None:
        self._monotonic = monotonic
        self._answers_a_second = answers_a_second
        self._second = 0
        self._given: dict[bytes, int] = {}

    def allows(self, sender: bytes, payload: bytes = b"") -> bool:
        """Whether one more refusal, of this payload, is answered to a sender now."""
        second = int(self._monotonic())
        if second != self._second:
            self._second = second
            self._given.clear()
        given = self._given.get(sender, 0)
        self._given[sender] = given + places(payload)
        return given < self._answers_a_second

    def is_over(self, sender: bytes) -> bool:
        """Whether a sender was refused so often that it is told no more in this second."""
        given = self._given.get(sender, 0)
        return given >= self._answers_a_second and self._second == int(self._monotonic())
