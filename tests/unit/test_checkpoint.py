"""Signed checkpoints: what is signed, by whom, and that nothing of it can be changed unseen."""

from __future__ import annotations

import base64
import hashlib
import stat
from pathlib import Path

import nacl.signing
import pytest
from msgspec import json
from msgspec.structs import replace
from support.desk import NOON
from support.golden import SIGNER

from ipledger.events import checkpoint
from ipledger.events.chain import Head
from ipledger.events.checkpoint import CheckpointError, Signer, load_signer
from ipledger.events.types import CheckpointSigned

HEAD = Head(7, "ab" * 32)
SIGNED = SIGNER.sign("shop", HEAD, NOON)
TEXT = f"ipledger/shop\n7\n{HEAD.hash}\n2026-11-22T12:00:00.000000Z\n"


def test_a_checkpoint_names_the_head_the_time_and_the_key() -> None:
    assert (SIGNED.realm, SIGNED.sequence, SIGNED.hash) == ("shop", 7, HEAD.hash)
    assert (SIGNED.time, SIGNED.key) == ("2026-11-22T12:00:00.000000Z", SIGNER.key)
    checkpoint.check_signature(SIGNED)


def test_the_note_is_a_c2sp_signed_note() -> None:
    body, _, line = checkpoint.note(SIGNED).partition("\n\n")
    dash, name, encoded = line.removesuffix("\n").split(" ")
    public = base64.b32decode(SIGNER.key)[1:33]
    key_id = hashlib.sha256(name.encode() + b"\n\x01" + public).digest()[:4]

    assert f"{body}\n" == TEXT
    assert (dash, name) == ("—", SIGNER.key)
    assert base64.b64decode(encoded)[:4] == key_id
    nacl.signing.VerifyKey(public).verify(TEXT.encode(), base64.b64decode(encoded)[4:])


def test_a_checkpoint_comes_back_from_its_note_and_from_its_json() -> None:
    assert checkpoint.read(checkpoint.note(SIGNED)) == SIGNED
    assert checkpoint.read(json.encode(SIGNED).decode()) == SIGNED


OTHER = Signer(b"SUAGC3TPORUGK4RANNSXSLBAN5TCA5DFON2HGLBAGMZCAYTZORSXGLU5ZY")


@pytest.mark.parametrize(
    "changed",
    [
        replace(SIGNED, realm="bank"),
        replace(SIGNED, sequence=8),
        replace(SIGNED, hash="cd" * 32),
        replace(SIGNED, time="2026-11-22T12:00:00.000001Z"),
        replace(SIGNED, key=OTHER.key),
        replace(SIGNED, signature=base64.b64encode(bytes(64)).decode()),
        replace(SIGNED, signature="no base64"),
        replace(SIGNED, signature=""),
    ],
)
def test_whatever_is_changed_is_found(changed: CheckpointSigned) -> None:
    with pytest.raises(CheckpointError, match=f"the signature is not of key {changed.key}"):
        checkpoint.check_signature(changed)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "its text is not"),
        ("{}", "missing required field"),
        ("{", "not a checkpoint"),
        (checkpoint.note(SIGNED).replace("ipledger/", "other/"), "its text is not"),
        (checkpoint.note(SIGNED).replace("\n7\n", "\nseven\n"), "invalid literal"),
        (checkpoint.note(SIGNED).replace("— ", "- "), "not signed by one key"),
        (checkpoint.note(SIGNED).replace(SIGNER.key, OTHER.key), "names another key"),
        (checkpoint.note(SIGNED).replace(SIGNER.key, "nobody"), "'nobody' is not a public key"),
        (checkpoint.note(SIGNED).replace("2026-", "26-"), "not a checkpoint"),
    ],
)
def test_what_is_no_checkpoint_is_refused_and_says_why(text: str, what: str) -> None:
    with pytest.raises(CheckpointError, match=what):
        checkpoint.read(text)


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.nk"
    made = load_signer(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_signer(path).key == made.key
    assert made.key.startswith("U")
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.nk"]
    assert load_signer(tmp_path / "another.nk").key != made.key


@pytest.mark.parametrize("text", ["", "garbage", SIGNER.key, "SUAAAA"])
def test_a_file_that_holds_no_seed_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "checkpoint.nk"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"checkpoint\.nk: not the seed of a key"):
        load_signer(path)
