"""A snapshot: the image of a state at a commit, in frames, with a head before and a seal behind.

    frame := length of payload (4 bytes, big-endian) | kind (1 byte) | payload
    snapshot := head (JSON) | blocks of the image (MessagePack, projections/image.py) | seal (JSON)

The seal's `digest` is the hash of the blocks, and so the digest of the state they make; its
`checksum` is over head and digest, so that no byte can change unseen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from ipledger.projections.fold import Fold
from ipledger.projections.image import Frozen, blocks
from ipledger.projections.restore import Filling

FORMAT = 1
"""Rises whenever the image or what the state makes of events changes: a snapshot of another
format is of no use, and the log is folded instead."""

FRAME_BYTES_MAX = 1 << 30

_HEAD, _BLOCK, _SEAL = b"H", b"B", b"S"
_PREFIX_BYTES = 5


class BadSnapshotError(Exception):
    """A snapshot that must not be used; the text says why."""


class Head(msgspec.Struct, frozen=True):
    """Where a snapshot belongs: the commit it was taken behind, its hash and time, the realm.

    `version` is the release that took it.
    """

    format: int
    version: str
    realm: str
    sequence: int
    hash: str
    time: int


class _Format(msgspec.Struct):
    format: int


class _Seal(msgspec.Struct, frozen=True):
    digest: str
    checksum: str


class Snapshot(NamedTuple):
    """A fold frozen between two commits, not yet written."""

    head: Head
    image: Frozen


def take(fold: Fold, realm: str, version: str) -> Snapshot:
    """Freeze a fold. Its state must be that of its head: between two commits."""
    head = Head(FORMAT, version, realm, fold.sequence, fold.hash, fold.time)
    return Snapshot(head, fold.state.frozen())


def frames(snapshot: Snapshot) -> Iterator[bytes]:
    """The bytes of a snapshot in parts, each of which takes about a millisecond to make."""
    head = msgspec.json.encode(snapshot.head)
    yield _frame(_HEAD, head)
    hashed = hashlib.sha256()
    for block in blocks(snapshot.image):
        hashed.update(block)
        yield _frame(_BLOCK, block)
    digest = hashed.hexdigest()
    yield _frame(_SEAL, msgspec.json.encode(_Seal(digest, _checksum(head, digest))))


def _frame(kind: bytes, payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + kind + payload


def _checksum(head: bytes, digest: str) -> str:
    return hashlib.sha256(head + digest.encode()).hexdigest()


class Reading:
    """A snapshot as it comes in, cut anywhere. It must belong to a commit of a realm's log.

    What `take` and `fold` raise about bytes that are wrong may be any exception, since blocks
    are read before the seal is; `BadSnapshotError` where it is known what is wrong.
    """

    def __init__(self, realm: str, sequence: int, commit_hash: str) -> None:
        self._expected = (realm, sequence, commit_hash)
        self._head: Head | None = None
        self._fold = Fold()
        self._filling = Filling(self._fold.state)
        self._hashed = hashlib.sha256()
        self._rest = b""
        self._raw_head = b""
        self._seal: _Seal | None = None

    def take(self, chunk: bytes) -> None:
        """Take in the next bytes."""
        data = self._rest + chunk
        start = 0
        while (end := start + _PREFIX_BYTES) <= len(data):
            length = int.from_bytes(data[start : start + 4], "big")
            if length > FRAME_BYTES_MAX:
                raise BadSnapshotError(f"a frame of {length} bytes: it is no snapshot, or damaged")
            if end + length > len(data):
                break
            self._frame(data[start + 4 : end], data[end : end + length])
            start = end + length
        self._rest = data[start:]

    def fold(self) -> Fold:
        """The fold, once everything was taken in."""
        if self._head is None or self._seal is None or self._rest:
            raise BadSnapshotError("it is torn: its end is missing")
        digest = self._hashed.hexdigest()
        if digest != self._seal.digest:
            raise BadSnapshotError(f"its digest is {digest}, not {self._seal.digest}")
        if _checksum(self._raw_head, digest) != self._seal.checksum:
            raise BadSnapshotError("its checksum is wrong")
        self._filling.finish()
        self._fold.advance(self._head.sequence, self._head.hash, self._head.time)
        self._fold.restored_events = self._fold.state.events_ever
        return self._fold

    def _frame(self, kind: bytes, payload: bytes) -> None:
        if self._seal is not None or (self._head is None) != (kind == _HEAD):
            raise BadSnapshotError("its frames are out of order")
        if kind == _HEAD:
            self._head, self._raw_head = self._read_head(payload), payload
        elif kind == _BLOCK:
            self._hashed.update(payload)
            self._filling.take(payload)
        elif kind == _SEAL:
            self._seal = msgspec.json.decode(payload, type=_Seal)
        else:
            raise BadSnapshotError(f"a frame of kind {kind!r}")

    def _read_head(self, payload: bytes) -> Head:
        written = msgspec.json.decode(payload, type=_Format).format
        if written != FORMAT:
            raise BadSnapshotError(f"it has format {written}, and this release reads {FORMAT}")
        head = msgspec.json.decode(payload, type=Head)
        realm, sequence, commit_hash = self._expected
        if head.realm != realm:
            raise BadSnapshotError(f"it is of realm {head.realm!r}, not {realm!r}")
        if head.sequence != sequence:
            raise BadSnapshotError(f"it is of commit {head.sequence}, not {sequence}")
        if head.hash != commit_hash:
            raise BadSnapshotError(f"its commit has hash {head.hash}, the log's {commit_hash}")
        return head
