"""When the leader signs a checkpoint: every so many commits, and when somebody asks for one."""

from __future__ import annotations

from dataclasses import dataclass, field

from ipledger.events.checkpoint import Signer
from ipledger.events.types import CheckpointSigned
from ipledger.projections.fold import Fold

EVERY_DEFAULT = 1000


@dataclass(slots=True)
class Checkpoints:
    """Signs the acknowledged head of a realm's log. `every` is in commits, 0 is never."""

    signer: Signer
    realm: str
    every: int = EVERY_DEFAULT
    _asked: bool = field(default=False, init=False)

    def ask(self) -> None:
        """Sign with the next commit."""
        self._asked = True

    def due(self, fold: Fold, now: int) -> CheckpointSigned | None:
        """A checkpoint of the fold's head, which is acknowledged, if it is time for one."""
        newest = fold.state.checkpoint
        since = fold.sequence - (newest.sequence if newest is not None else 0)
        if not self._asked and not 0 < self.every <= since:
            return None
        self._asked = False
        return self.signer.sign(self.realm, fold.head, now)
