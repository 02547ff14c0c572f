"""A commit: one message of the log, holding one or more events and the hash of the one before.

The hash is over the bytes as stored, never over a re-encoding (DESIGN section 5).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from ipledger.events.clock import format_time
from ipledger.events.quoting import cut
from ipledger.events.types import AnyEvent

FORMAT = 1
GENESIS = "0" * 64
"""`prev` of the first commit."""


class Took(msgspec.Struct, frozen=True, gc=False):
    """How long a commit took, in microseconds from its time, by a clock that nobody sets.

    Until the last command in it was decided, and until it was acknowledged.
    """

    decided: int
    stored: int


class Commit(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A decoded commit. `time` is RFC 3339; it never goes backwards along the log.

    `prev_took` is of the commit before, where the same engine made it: nobody knows how long a
    commit takes while it is written (ADR 84).
    """

    v: int
    epoch: int
    time: str
    prev: str
    prev_took: Took | None = msgspec.field(default=None, name="prevTook")
    events: tuple[AnyEvent, ...]


class _Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    v: int
    epoch: int
    time: str
    prev: str
    prev_took: Took | None = msgspec.field(default=None, name="prevTook")
    events: tuple[msgspec.Raw, ...]


class _Version(msgspec.Struct):
    v: int


class _Link(msgspec.Struct):
    prev: str


class UnreadableCommitError(ValueError):
    """A stored payload is not a commit this release understands."""

    def __init__(self, what: str) -> None:
        super().__init__(cut(what))


_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What reading may raise; the last one, where JSON is nested more deeply than anything of ours."""

_decoder = msgspec.json.Decoder(Commit)
_link_decoder = msgspec.json.Decoder(_Link)
_version_decoder = msgspec.json.Decoder(_Version)
_encoder = msgspec.json.Encoder()
ENVELOPE_BYTES_MAX = 512
"""No envelope without its events is longer than this."""


def digest(payload: bytes) -> str:
    """The hash of a stored payload: lower-case hex SHA-256."""
    return hashlib.sha256(payload).hexdigest()


def encode_event(event: AnyEvent) -> bytes:
    """One event as it will stand in a commit; a commit's size is the sum of these."""
    return _encoder.encode(event)


def encode(
    epoch: int,
    time_micros: int,
    prev: str,
    events: Iterable[bytes],
    prev_took: Took | None = None,
) -> bytes:
    """The payload of a commit of events that `encode_event` encoded."""
    raw = tuple(msgspec.Raw(event) for event in events)
    assert raw, "a commit holds at least one event"
    return _encoder.encode(
        _Envelope(
            v=FORMAT,
            epoch=epoch,
            time=format_time(time_micros),
            prev=prev,
            prev_took=prev_took,
            events=raw,
        )
    )


def decode(payload: bytes) -> Commit:
    """Read a stored payload. Raises `UnreadableCommitError` on unknown events and formats."""
    try:
        if not payload.isascii():
            payload.decode()  # fields that are not known are not looked at, and would pass
        commit = _decoder.decode(payload)
    except _UNREADABLE as error:
        raise UnreadableCommitError(_other_format(payload) or str(error)) from error
    if commit.v != FORMAT:
        raise UnreadableCommitError(_other_format(payload))
    if not commit.events:
        raise UnreadableCommitError("a commit without events")
    return commit


def prev_of(payload: bytes) -> str:
    """The `prev` of a stored payload, without reading its events. Raises as `decode` does."""
    try:
        return _link_decoder.decode(payload).prev
    except _UNREADABLE as error:
        raise UnreadableCommitError(str(error)) from error


def _other_format(payload: bytes) -> str:
    """What to say if a payload is of another format, '' if it does not claim to be."""
    try:
        version = _version_decoder.decode(payload).v
    except _UNREADABLE:
        return ""
    if version == FORMAT:
        return ""
    return f"format v{version} is {'newer' if version > FORMAT else 'older'} than v{FORMAT}"
