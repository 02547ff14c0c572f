"""`verify` on copies of a log that were tampered with: exit code 3, and where each is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from support import traffic
from support.golden import SIGNER
from support.terminal import Cli

from ipledger.events import commit
from ipledger.events.chain import Head
from ipledger.events.checkpoint import note
from ipledger.events.facts import Pod
from ipledger.events.log import Entry
from ipledger.events.types import AddressesAllocated, AddressesReleased, AnyEvent
from ipledger.projections.fold import Fold

LINES = [entry.payload for entry in traffic.entries(800, seed=11)]
AT = len(LINES) - 5
"""The line that is tampered with, counted from 0; as a commit it is the next number."""


def changed_byte(lines: list[bytes]) -> None:
    lines[AT] = lines[AT].replace(b'"interface":"eth0"', b'"interface":"eth1"', 1)
    assert lines != LINES


def dropped(lines: list[bytes]) -> None:
    del lines[AT]


def swapped(lines: list[bytes]) -> None:
    lines[AT], lines[AT + 1] = lines[AT + 1], lines[AT]


def with_events(lines: list[bytes], *events: AnyEvent) -> None:
    """A history that goes on otherwise, each commit with the right hash of the one before."""
    stored = commit.decode(lines[AT])
    del lines[AT:]
    prev = commit.digest(lines[-1])
    payload = commit.encode(
        stored.epoch, 2_000_000_000_000_000, prev, map(commit.encode_event, events)
    )
    lines.append(payload)


def invented_release(lines: list[bytes]) -> None:
    with_events(lines, AddressesReleased(allocation="a999999", sandbox="s", reason="operator"))


def two_holders(lines: list[bytes]) -> None:
    fold = Fold()
    for number, line in enumerate(lines[:AT], 1):
        fold.apply(Entry(number, line))
    holder = next(iter(fold.state.allocations.all()))
    other = AddressesAllocated(
        allocation="a999999",
        pod=Pod("ns", "other", "other"),
        node="n",
        sandbox="s",
        interface="eth0",
        addresses=tuple(held.fact() for held in holder.addresses),
    )
    with_events(lines, other)


def backwards(lines: list[bytes]) -> None:
    stored = commit.decode(lines[AT])
    del lines[AT + 1 :]
    prev = commit.digest(lines[AT - 1])
    raw = map(commit.encode_event, stored.events)
    lines[AT] = commit.encode(stored.epoch, 0, prev, raw)


DAMAGE: dict[str, tuple[Callable[[list[bytes]], None], str, str]] = {
    "a changed byte": (changed_byte, f"{AT + 2}.0", rf"prev is \w+, but commit {AT + 1} has hash"),
    "a dropped commit": (dropped, f"{AT + 1}.0", rf"prev is \w+, but commit {AT} has hash"),
    "swapped commits": (swapped, f"{AT + 1}.0", rf"prev is \w+, but commit {AT} has hash"),
    "an invented release": (
        invented_release,
        f"{AT + 1}.0",
        "invariant 7: a999999 is released, but is not live",
    ),
    "two holders": (two_holders, f"{AT + 1}.0", r"invariant 1: \S+ is held by a\d+ already"),
    "a time that goes backwards": (backwards, f"{AT + 1}.0", "is before the commit before it"),
}


@pytest.mark.parametrize("case", DAMAGE)
async def test_verify_names_the_place_of(case: str, cli: Cli, tmp_path: Path) -> None:
    damage, position, reason = DAMAGE[case]
    lines = list(LINES)
    damage(lines)
    (tmp_path / "copy.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))

    result = await cli("verify", "--from", "FILES/copy.jsonl", "-o", "json")

    assert result.code == 3
    report = msgspec.json.decode(result.stdout)
    assert report["badPosition"] == position
    assert re.search(reason, report["reason"]), report["reason"]
    assert report["commits"] == int(report["badPosition"].partition(".")[0]) - 1


async def test_verify_accepts_the_copy_that_was_not_tampered_with(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "copy.jsonl").write_bytes(b"".join(line + b"\n" for line in LINES))

    result = await cli("verify", "--from", "FILES/copy.jsonl", "-o", "json")

    assert result.code == 0
    assert msgspec.json.decode(result.stdout)["commits"] == len(LINES)


async def test_verify_names_where_a_tail_was_cut_if_a_checkpoint_was_kept(
    cli: Cli, realm: str, tmp_path: Path
) -> None:
    signed = SIGNER.sign(realm, Head(len(LINES), commit.digest(LINES[-1])), 0)
    (tmp_path / "kept.note").write_text(note(signed))
    (tmp_path / "copy.jsonl").write_bytes(b"".join(line + b"\n" for line in LINES[:AT]))

    cut = await cli("verify", "--from", "FILES/copy.jsonl", "--checkpoint", "FILES/kept.note")

    assert cut.code == 3
    missing = f"error: {AT + 1}.0: missing: the log ends at {AT}, a checkpoint of "
    assert cut.stderr.startswith(missing)
