"""Signed checkpoints against the log: those that stand in it, and those kept elsewhere.

A checkpoint in the log signs the commit before its own. One that an auditor kept in a file tells
of a history that was rewritten, chain and all, or cut: nobody without the key can sign another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ipledger.events.checkpoint import CheckpointError, check_signature
from ipledger.events.commit import Commit
from ipledger.events.types import CheckpointSigned


class Wrong(NamedTuple):
    """What contradicts the log: an event by its place in the commit, and why. 0 if it was kept."""

    place: int
    reason: str


class Witness:
    """Looks at each commit in order. `seen` counts the checkpoints that agreed."""

    def __init__(self, kept: Sequence[CheckpointSigned] = ()) -> None:
        self._kept = sorted(kept, key=lambda checkpoint: checkpoint.sequence)
        self._realm = self._kept[0].realm if self._kept else ""
        self.seen = 0

    def enter(self, sequence: int, commit: Commit, payload_hash: str) -> Wrong | None:
        """Take in the next commit, which continues the chain."""
        if CheckpointSigned in map(type, commit.events):
            wrong = self._all_signed(commit, sequence)
            if wrong is not None:
                return wrong
        for kept in self._kept:
            if kept.sequence == sequence and kept.hash != payload_hash:
                return Wrong(0, _rewritten(kept, payload_hash))
        return None

    def missing(self, last: int) -> str | None:
        """What is wrong with a log that ends here, None if nothing is."""
        cut = next((kept for kept in self._kept if kept.sequence > last), None)
        if cut is None:
            return None
        return f"missing: the log ends at {last}, a checkpoint of {cut.time} has {cut.sequence}"

    def _all_signed(self, commit: Commit, sequence: int) -> Wrong | None:
        for index, event in enumerate(commit.events):
            if isinstance(event, CheckpointSigned):
                wrong = self._signed(event, sequence, commit.prev)
                if wrong:
                    return Wrong(index, wrong)
                self.seen += 1
        return None

    def _signed(self, event: CheckpointSigned, sequence: int, prev: str) -> str:
        """What is wrong with a checkpoint in the log, '' if nothing is."""
        self._realm = self._realm or event.realm
        if event.realm != self._realm:
            return f"a checkpoint of realm {event.realm!r} in the log of {self._realm!r}"
        if (event.sequence, event.hash) != (sequence - 1, prev):
            return f"the checkpoint is of commit {event.sequence} with hash {event.hash}"
        try:
            check_signature(event)
        except CheckpointError as error:
            return f"the checkpoint is forged: {error}"
        return ""


def _rewritten(kept: CheckpointSigned, found: str) -> str:
    signed = f"the checkpoint of {kept.time} signed {kept.hash}"
    return f"the history was rewritten at or before this commit: its hash is {found}, {signed}"
