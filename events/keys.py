"""Keys as NATS writes them (nkeys): Ed25519, a seed that is secret and a public half."""

from __future__ import annotations

import binascii
import os
from pathlib import Path

import nkeys

_KEY_BYTES = 32


class KeyFormatError(ValueError):
    """It is not the seed of a key. The message does not quote it."""


def new_seed() -> bytes:
    """The seed of a new key."""
    return bytes(nkeys.encode_seed(os.urandom(_KEY_BYTES), nkeys.PREFIX_BYTE_USER))


def pair(seed: bytes) -> nkeys.KeyPair:
    """The key of a seed. Raises `KeyFormatError`."""
    try:
        return nkeys.from_seed(bytearray(seed))
    except (nkeys.NkeysError, ValueError, binascii.Error, IndexError) as error:
        raise KeyFormatError(f"not the seed of a key ({type(error).__name__})") from None


def public_key(seed: bytes) -> str:
    """The public half of a seed. Raises `KeyFormatError`."""
    return bytes(pair(seed).public_key).decode()


def write_secret(path: Path, secret: bytes) -> None:
    """Store a secret: the file is there whole or not at all, and only its owner reads it."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(fd, secret + b"\n")
        os.fsync(fd)
    finally:
        os.close(fd)
    unfinished.rename(path)
