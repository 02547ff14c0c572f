"""Signed checkpoints: a short note that says what the log's head was, and who vouches for it.

The note has the form of a C2SP signed note (https://c2sp.org/signed-note): text, an empty line,
and a line with the signer's name and an Ed25519 signature of the text. The name is the public key
itself, as NATS writes it, so that a note in a file can be checked with nothing else.

    ipledger/default
    1000
    4a1f…
    2026-11-22T21:14:05.123456Z

    — UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4 …
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from pathlib import Path

import msgspec
import nacl.exceptions
import nacl.signing

from ipledger.events import keys
from ipledger.events.chain import Head
from ipledger.events.clock import format_time, parse_time
from ipledger.events.types import CheckpointSigned

_ORIGIN = "ipledger/"
_ED25519 = b"\x01"  # the signature type of the C2SP note
_KEY_BYTES = 32
_ID_BYTES = 4
_decode = msgspec.json.Decoder(CheckpointSigned).decode


class CheckpointError(ValueError):
    """It is no checkpoint, or its signature is not of its key."""


class Signer:
    """A key that signs checkpoints. `key` is its public half."""

    def __init__(self, seed: bytes) -> None:
        try:
            self._pair = keys.pair(seed)
        except keys.KeyFormatError as error:
            raise CheckpointError(str(error)) from None
        self.key = bytes(self._pair.public_key).decode()

    def sign(self, realm: str, head: Head, time: int) -> CheckpointSigned:
        """Vouch for a log up to its head, at a time in microseconds since the Unix epoch."""
        unsigned = CheckpointSigned(
            realm=realm,
            sequence=head.sequence,
            hash=head.hash,
            time=format_time(time),
            key=self.key,
            signature="",
        )
        signature = base64.b64encode(self._pair.sign(_text(unsigned))).decode()
        return msgspec.structs.replace(unsigned, signature=signature)


def load_signer(path: Path) -> Signer:
    """The signer whose seed is in a file, made (mode 0600) if it is not there.

    Raises `CheckpointError` if the file holds no seed, `OSError` if it cannot be used.
    """
    try:
        seed = path.read_bytes().strip()
    except FileNotFoundError:
        seed = keys.new_seed()
        keys.write_secret(path, seed)
    try:
        return Signer(seed)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def check_signature(checkpoint: CheckpointSigned) -> None:
    """Raise `CheckpointError` unless the signature is that of the checkpoint's key."""
    try:
        signature = base64.b64decode(checkpoint.signature, validate=True)
        nacl.signing.VerifyKey(_public(checkpoint.key)).verify(_text(checkpoint), signature)
    except (nacl.exceptions.CryptoError, ValueError, TypeError) as error:
        raise CheckpointError(f"the signature is not of key {checkpoint.key}") from error


def check_key(key: str) -> str:
    """Return a public key, or raise `CheckpointError` if it is none."""
    _public(key)
    return key


def note(checkpoint: CheckpointSigned) -> str:
    """A checkpoint as a signed note."""
    signature = _key_id(checkpoint.key) + base64.b64decode(checkpoint.signature)
    signed = f"— {checkpoint.key} {base64.b64encode(signature).decode()}\n"
    return f"{_text(checkpoint).decode()}\n{signed}"


def read(text: str) -> CheckpointSigned:
    """A checkpoint from its note or its JSON. Raises `CheckpointError`; checks no signature."""
    try:
        return _decode(text) if text.lstrip().startswith("{") else _read_note(text)
    except (msgspec.DecodeError, ValueError) as error:
        raise CheckpointError(f"not a checkpoint: {error}") from None


def _read_note(text: str) -> CheckpointSigned:
    body, _, signatures = text.partition("\n\n")
    lines, signed = body.split("\n"), signatures.rstrip("\n").split(" ")
    if len(lines) != 4 or not lines[0].startswith(_ORIGIN):
        raise ValueError(f"its text is not {_ORIGIN}REALM, sequence, hash and time on a line each")
    if len(signed) != 3 or signed[0] != "—":
        raise ValueError("it is not signed by one key")
    origin, sequence, known, time = lines
    parse_time(time)
    signature = base64.b64decode(signed[2], validate=True)
    if signature[:_ID_BYTES] != _key_id(signed[1]):
        raise ValueError("its signature names another key")
    return CheckpointSigned(
        realm=origin.removeprefix(_ORIGIN),
        sequence=int(sequence),
        hash=known,
        time=time,
        key=signed[1],
        signature=base64.b64encode(signature[_ID_BYTES:]).decode(),
    )


def _text(checkpoint: CheckpointSigned) -> bytes:
    """What is signed."""
    head = f"{_ORIGIN}{checkpoint.realm}\n{checkpoint.sequence}\n{checkpoint.hash}"
    return f"{head}\n{checkpoint.time}\n".encode()


def _key_id(key: str) -> bytes:
    return hashlib.sha256(key.encode() + b"\n" + _ED25519 + _public(key)).digest()[:_ID_BYTES]


def _public(key: str) -> bytes:
    """The 32 bytes of a public key that NATS writes as base32: prefix, key, CRC-16."""
    try:
        raw = base64.b32decode(key + "=" * (-len(key) % 8))
    except (binascii.Error, ValueError):
        raw = b""
    body, checksum = raw[:-2], raw[-2:]
    if len(body) != 1 + _KEY_BYTES or checksum != binascii.crc_hqx(body, 0).to_bytes(2, "little"):
        raise CheckpointError(f"{key!r} is not a public key") from None
    return body[1:]
