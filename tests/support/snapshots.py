"""Snapshots as tests make and read them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ipledger.projections import snapshot
from ipledger.projections.fold import Fold
from ipledger.projections.snapshot import Reading, Snapshot

REALM = "realm"


def written(fold: Fold, realm: str = REALM) -> bytes:
    """The bytes of a snapshot taken of a fold now."""
    return joined(snapshot.take(fold, realm, "0.0.0"))


def joined(taken: Snapshot) -> bytes:
    """The bytes of a snapshot."""
    return b"".join(snapshot.frames(taken))


def read(data: bytes, fold: Fold, cuts: Sequence[int] = ()) -> Fold:
    """Restore what was taken of `fold` when it was where it is now, from pieces."""
    return read_at(data, fold.sequence, fold.hash, cuts)


def read_at(data: bytes, sequence: int, commit_hash: str, cuts: Sequence[int] = ()) -> Fold:
    """Restore a snapshot that must be of this commit; `cuts` are where it comes in pieces."""
    reading = Reading(REALM, sequence, commit_hash)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        reading.take(data[start:end])
    return reading.fold()
