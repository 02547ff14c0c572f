"""The safety valve: how many frees are believed at once.

A restored or half-asleep API server may know no pod, or half of them. What it seems to say then is
that most allocations are zombies. Nothing is freed on such an answer: it must be said again much
later, or an operator must say so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ipledger.gc.case import SECOND
from ipledger.gc.claims import Claim
from ipledger.gc.settings import Settings

NO_PODS = "the API server knows no pod at all"


class Admitted(NamedTuple):
    """Which zombies may be freed now; `why` says why the others may not, '' if all may."""

    now: list[Claim]
    withheld: list[Claim]
    why: str = ""


@dataclass(slots=True)
class Valve:
    """Remembers what was freed lately, and since when what was withheld is a zombie."""

    settings: Settings
    _freed: deque[int] = field(default_factory=deque[int], init=False)
    _since: dict[str, int] = field(default_factory=dict[str, int], init=False)

    def admit(
        self, zombies: Sequence[Claim], total: int, pods: int, now: int, *, sure: bool = False
    ) -> Admitted:
        """Let zombies pass, of `total` allocations, when the API server knows `pods` pods.

        `now` is in microseconds. All pass where somebody is `sure`. Where the API server knows no
        pod at all none does: such a cluster needs no addresses, until it has a pod again.
        """
        if sure or not zombies:
            return Admitted(list(zombies), [])
        if pods == 0:
            return Admitted([], list(zombies), NO_PODS)
        old = [claim for claim in zombies if self._is_second_look(claim, now)]
        fresh = [claim for claim in zombies if not self._is_second_look(claim, now)]
        limit = max(self.settings.count_max, int(self.settings.share_max * total))
        lately = self._freed_lately(now)
        if lately + len(fresh) <= limit:
            return Admitted(list(zombies), [])
        for claim in fresh:
            self._since.setdefault(claim.allocation, now)
        return Admitted(old, fresh, _too_many(len(fresh), lately, total, limit, self.settings))

    def freed(self, allocation: str, now: int) -> None:
        """An allocation was freed."""
        self._freed.append(now)
        self._since.pop(allocation, None)

    def forget_others(self, zombies: Iterable[Claim]) -> None:
        """Everything was looked at: what is no zombie now is looked at as if for the first time."""
        found = {claim.allocation for claim in zombies}
        self._since = {name: at for name, at in self._since.items() if name in found}

    def _is_second_look(self, claim: Claim, now: int) -> bool:
        since = self._since.get(claim.allocation)
        return since is not None and now - since >= self._window

    def _freed_lately(self, now: int) -> int:
        while self._freed and self._freed[0] <= now - self._window:
            self._freed.popleft()
        return len(self._freed)

    @property
    def _window(self) -> int:
        return round(self.settings.second_look_s * SECOND)


def _too_many(fresh: int, lately: int, total: int, limit: int, settings: Settings) -> str:
    also = f", and {lately} were freed lately" if lately else ""
    return (
        f"{fresh} of {total} allocations seem to be zombies{also}: more than {limit} are believed "
        f"at a second look only, {settings.second_look_s:.0f} s after the first"
    )
