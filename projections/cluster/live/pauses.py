"""How long to wait before trying again: longer each time, and never all at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Pauses:
    """Exponential pauses with full jitter between half and whole, in seconds.

    `random` gives numbers from 0 to 1, so that a thousand agents whose API server comes back do
    not come back together, and a test knows what to expect.
    """

    random: Callable[[], float]
    first_s: float = 0.25
    longest_s: float = 30.0
    _failures: int = field(default=0, init=False)

    def reset(self) -> None:
        """Something worked."""
        self._failures = 0

    def next_s(self, at_least_s: float = 0) -> float:
        """The pause after one more failure."""
        whole = min(self.longest_s, self.first_s * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return max(at_least_s, whole * (0.5 + self.random() / 2))
