"""Loading from snapshots: the newest good one is used, and a bad one is skipped, loudly."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TypeAlias

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from support.desk import Desk, serving
from support.snapshots import REALM, joined, written
from support.text import command

from ipledger.engine.snapshot_store import MemorySnapshots, SnapshotsUnavailableError
from ipledger.engine.snapshots import Snapshots, load
from ipledger.events.commit import digest
from ipledger.events.log import BrokenLogError
from ipledger.events.memory import MemoryLog
from ipledger.projections import snapshot
from ipledger.projections.fold import Fold


class Realm:
    """A log of a few commits, and snapshots behind the commits 2, 4 and 6."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.snapshots = MemorySnapshots()
        self.whole = Fold()

    async def fill(self) -> Realm:
        desk = Desk(self.log)
        async with serving(desk):
            await desk.ask(command("pool a 10.0.0.0/24 ips=10.0.0.1-10.0.0.9 default"))
            for number in range(1, 7):
                if desk.fold.sequence % 2 == 0:
                    self.snapshots.kept[desk.fold.sequence] = written(desk.fold)
                await desk.ask(command(f"ADD p{number}"))
        self.whole = desk.fold
        assert sorted(self.snapshots.kept) == [2, 4, 6]
        return self

    async def load(self) -> Fold:
        """What loading gives; it must always be the state that the whole log makes."""
        fold = await load(self.log, Snapshots(self.snapshots, REALM))
        assert (fold.sequence, fold.hash) == (self.whole.sequence, self.whole.hash)
        assert fold.time == self.whole.time
        assert fold.state.digest() == self.whole.state.digest()
        return fold


@pytest.fixture
async def realm(caplog: pytest.LogCaptureFixture) -> Realm:
    caplog.set_level("INFO", "ipledger.engine.snapshots")
    return await Realm().fill()


def edited(data: bytes, **changes: object) -> bytes:
    """A snapshot with other fields in its head, sealed as if it had been written so."""
    length = int.from_bytes(data[:4], "big")
    head = {**msgspec.json.decode(data[5 : 5 + length]), **changes}
    payload = msgspec.json.encode(head)
    return len(payload).to_bytes(4, "big") + b"H" + payload + data[5 + length :]


async def test_the_newest_snapshot_is_used(realm: Realm, caplog: pytest.LogCaptureFixture) -> None:
    await realm.load()
    assert caplog.messages == ["realm realm begins from the snapshot at commit 6"]


async def test_only_the_commits_behind_a_snapshot_are_folded(realm: Realm) -> None:
    realm.log.payloads[0:5] = [b"nobody reads this"] * 5
    await realm.load()


async def test_without_snapshots_the_whole_log_is_folded(
    realm: Realm, caplog: pytest.LogCaptureFixture
) -> None:
    realm.snapshots.kept.clear()
    await realm.load()
    assert caplog.messages == []


Damage: TypeAlias = Callable[[bytes], bytes]

DAMAGES: list[tuple[Damage, str]] = [
    (lambda data: data[:-1], "it is torn: its end is missing"),
    (lambda data: data[: len(data) // 2], "it is torn: its end is missing"),
    (lambda data: b"", "it is torn: its end is missing"),
    (lambda data: data + b"x", "it is torn: its end is missing"),
    (lambda data: data + data, "its frames are out of order"),
    (lambda data: b"GIF89a" + data, "it is no snapshot, or damaged"),
    (lambda data: edited(data, realm="other"), "it is of realm 'other', not 'realm'"),
    (lambda data: edited(data, format=99), "it has format 99, and this release reads"),
    (lambda data: edited(data, sequence=4), "it is of commit 4, not 6"),
    (lambda data: edited(data, hash="0" * 64), "its commit has hash 00000000"),
    (lambda data: edited(data, time=7), "its checksum is wrong"),
    (lambda data: data.replace(b"p3-uid", b"p9-uid"), "its digest is"),
]
"""What was done to a snapshot at commit 6, and what is said of it."""


@pytest.mark.parametrize(("damage", "why"), DAMAGES, ids=[why for _, why in DAMAGES])
async def test_a_bad_snapshot_is_skipped_loudly_for_the_one_before(
    realm: Realm, caplog: pytest.LogCaptureFixture, damage: Damage, why: str
) -> None:
    realm.snapshots.kept[6] = damage(realm.snapshots.kept[6])
    await realm.load()
    skipped, used = caplog.records
    assert skipped.levelname == "ERROR"
    assert skipped.message.startswith("snapshot at commit 6 of realm realm skipped: ")
    assert why in skipped.message
    assert used.message == "realm realm begins from the snapshot at commit 4"


async def test_when_all_snapshots_are_bad_the_whole_log_is_folded(
    realm: Realm, caplog: pytest.LogCaptureFixture
) -> None:
    for sequence, data in realm.snapshots.kept.items():
        realm.snapshots.kept[sequence] = data[:-1]
    await realm.load()
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 3


async def test_a_snapshot_of_a_commit_that_the_log_has_not_is_skipped(
    realm: Realm, caplog: pytest.LogCaptureFixture
) -> None:
    """As when the stream was restored from an older copy."""
    realm.snapshots.kept[99] = edited(realm.snapshots.kept[6], sequence=99)
    await realm.load()
    assert "snapshot at commit 99 of realm realm skipped: the log ends before it" in caplog.text


async def test_a_snapshot_whose_state_the_log_contradicts_is_skipped(
    realm: Realm, caplog: pytest.LogCaptureFixture
) -> None:
    """One that is whole and says that it belongs there, but holds another state."""
    four = await load(realm.log, Snapshots(realm.snapshots, REALM))
    wrong = snapshot.take(four, REALM, "0")
    head = structs.replace(wrong.head, sequence=3, hash=digest(realm.log.payloads[2]))
    realm.snapshots.kept = {3: joined(wrong._replace(head=head))}
    caplog.clear()
    await realm.load()
    assert caplog.messages[0].startswith("snapshot at commit 3 of realm realm skipped: commit 4: ")


async def test_a_store_that_cannot_be_asked_costs_time_and_nothing_else(
    realm: Realm, caplog: pytest.LogCaptureFixture
) -> None:
    class Away(MemorySnapshots):
        async def sequences(self) -> list[int]:
            raise SnapshotsUnavailableError("it is away")

    realm.snapshots = Away()
    await realm.load()
    assert "snapshots of realm realm cannot be read, folding the whole log: it is away" in (
        caplog.text
    )


async def test_a_store_that_goes_away_meanwhile_costs_time_and_nothing_else(
    realm: Realm, caplog: pytest.LogCaptureFixture
) -> None:
    class Breaking(MemorySnapshots):
        async def get(self, sequence: int) -> AsyncIterator[bytes]:
            yield self.kept[sequence][:100]
            raise SnapshotsUnavailableError("it went away")

    breaking = Breaking()
    breaking.kept = realm.snapshots.kept
    realm.snapshots = breaking
    await realm.load()
    assert caplog.text.count("skipped: it went away") == 3


async def test_a_broken_log_is_told_of_whatever_snapshots_there_are(realm: Realm) -> None:
    realm.log.payloads[-1] = b"{}"
    with pytest.raises(BrokenLogError, match="commit 8: cannot be read"):
        await load(realm.log, Snapshots(realm.snapshots, REALM))


@given(data=st.data())
async def test_no_flipped_byte_is_believed(data: st.DataObject) -> None:
    realm = await Realm().fill()
    damaged = bytearray(realm.snapshots.kept[6])
    at = data.draw(st.integers(0, len(damaged) - 1))
    damaged[at] ^= data.draw(st.integers(1, 255))
    realm.snapshots.kept = {6: bytes(damaged)}
    realm.log.payloads[0] = b"{}"
    with pytest.raises(BrokenLogError, match="commit 1: cannot be read"):
        await load(realm.log, Snapshots(realm.snapshots, REALM))
