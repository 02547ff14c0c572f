"""How many refusals are answered: each sender's first ones in a second, the rest are dropped.

An answer costs several times what it costs to see that a command cannot be served. A sender that
floods would have the engine write answers instead of serving the others; a client that gets none
tries again, more slowly (engine/client.py).
"""

from __future__ import annotations

from collections.abc import Callable

ANSWERS_A_SECOND = 200


class Patience:
    """`monotonic` tells seconds."""

    def __init__(
        self, monotonic: Callable[[], float], answers_a_second: int = ANSWERS_A_SECOND
    ) -> None:
        self._monotonic = monotonic
        self._answers_a_second = answers_a_second
        self._second = 0
        self._given: dict[str, int] = {}

    def allows(self, sender: str) -> bool:
        """Whether one more refusal is answered to a sender now."""
        second = int(self._monotonic())
        if second != self._second:
            self._second = second
            self._given.clear()
        given = self._given[sender] = self._given.get(sender, 0) + 1
        return given <= self._answers_a_second
