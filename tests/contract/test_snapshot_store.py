"""The contract of the snapshot store (engine/snapshot_store.py), for every implementation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import pytest
from nats.aio.client import Client as NatsClient
from support.desk import Clock

from ipledger.engine.commit_loop import CommitLoop
from ipledger.engine.object_store import JetStreamSnapshots
from ipledger.engine.snapshot_store import (
    MemorySnapshots,
    SnapshotStore,
    SnapshotsUnavailableError,
)
from ipledger.engine.snapshots import Snapshots, load
from ipledger.events.jetstream import JetStreamLog
from ipledger.projections.fold import Fold

MEGABYTE = bytes(range(256)) * 4096


async def parts(*data: bytes) -> AsyncIterator[bytes]:
    for part in data:
        yield part


async def read(store: SnapshotStore, sequence: int) -> bytes:
    return b"".join([part async for part in store.get(sequence)])


class SnapshotStoreContract:
    """What holds for every store. A subclass gives the fixture `store`, an empty one."""

    async def test_an_empty_store_has_nothing(self, store: SnapshotStore) -> None:
        assert await store.sequences() == []
        assert await read(store, 1) == b""
        await store.keep(3)

    async def test_bytes_come_back_as_they_were(self, store: SnapshotStore) -> None:
        await store.put(7, parts(b"one\r\n\0", bytes(range(256)), b"x"))
        assert await read(store, 7) == b"one\r\n\0" + bytes(range(256)) + b"x"

    async def test_many_megabytes_come_back_as_they_were(self, store: SnapshotStore) -> None:
        await store.put(7, parts(*[MEGABYTE] * 20, b"end"))
        assert await read(store, 7) == MEGABYTE * 20 + b"end"

    async def test_the_newest_is_first(self, store: SnapshotStore) -> None:
        for sequence in (9, 100, 10):
            await store.put(sequence, parts(b"%d" % sequence))
        assert await store.sequences() == [100, 10, 9]
        assert await read(store, 10) == b"10"

    async def test_what_is_put_again_takes_the_place_of_the_first(
        self, store: SnapshotStore
    ) -> None:
        await store.put(7, parts(b"first, and longer"))
        await store.put(7, parts(b"second"))
        assert await store.sequences() == [7]
        assert await read(store, 7) == b"second"

    async def test_the_newest_are_kept_and_the_others_are_gone(self, store: SnapshotStore) -> None:
        for sequence in (5, 1, 4, 2, 3):
            await store.put(sequence, parts(b"%d" % sequence))
        await store.keep(2)
        assert await store.sequences() == [5, 4]
        assert [await read(store, sequence) for sequence in (5, 4, 3)] == [b"5", b"4", b""]

    async def test_one_that_was_not_written_to_its_end_is_not_there(
        self, store: SnapshotStore
    ) -> None:
        async def breaking() -> AsyncIterator[bytes]:
            yield MEGABYTE
            raise OSError("the writer is gone")

        with pytest.raises((OSError, SnapshotsUnavailableError), match="the writer is gone"):
            await store.put(7, breaking())
        assert await store.sequences() == []
        assert await read(store, 7) == b""


class TestMemorySnapshots(SnapshotStoreContract):
    @pytest.fixture
    def store(self) -> SnapshotStore:
        return MemorySnapshots()


class TestJetStreamSnapshots(SnapshotStoreContract):
    @pytest.fixture
    async def store(self, nc: NatsClient, realm: str) -> SnapshotStore:
        await JetStreamLog.create(nc, realm)
        return cast("SnapshotStore", JetStreamSnapshots(nc, realm))

    async def test_nothing_is_left_of_those_that_are_gone(
        self, store: SnapshotStore, nc: NatsClient, realm: str
    ) -> None:
        for sequence in range(1, 6):
            await store.put(sequence, parts(MEGABYTE))
        await store.keep(1)
        info = await nc.jetstream().stream_info(f"OBJ_IPLEDGER_SNAPSHOTS_{realm}")
        assert info.state.messages == 3, "two chunks and the metadata of one"

    async def test_what_a_writer_that_died_has_left_is_cleared(
        self, store: SnapshotStore, nc: NatsClient, realm: str
    ) -> None:
        await store.put(7, parts(b"seven"))
        await nc.jetstream().publish(f"$O.IPLEDGER_SNAPSHOTS_{realm}.C.DEAD", MEGABYTE[:1000])
        await store.keep(3)
        info = await nc.jetstream().stream_info(f"OBJ_IPLEDGER_SNAPSHOTS_{realm}")
        assert info.state.messages == 2
        assert await read(store, 7) == b"seven"

    async def test_it_is_an_object_as_any_other(
        self, store: SnapshotStore, nc: NatsClient, realm: str
    ) -> None:
        await store.put(7, parts(MEGABYTE, b"end"))
        bucket = await nc.jetstream().object_store(f"IPLEDGER_SNAPSHOTS_{realm}")
        assert (await bucket.get("7")).data == MEGABYTE + b"end"

    async def test_objects_of_others_are_no_snapshots(
        self, store: SnapshotStore, nc: NatsClient, realm: str
    ) -> None:
        await store.put(7, parts(b"seven"))
        bucket = await nc.jetstream().object_store(f"IPLEDGER_SNAPSHOTS_{realm}")
        await bucket.put("notes.txt", b"mine")
        await store.keep(0)
        assert await store.sequences() == []
        assert (await bucket.get("notes.txt")).data == b"mine"

    async def test_a_truncated_object_is_skipped_loudly(
        self, store: SnapshotStore, nc: NatsClient, realm: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        log, fold = await JetStreamLog.create(nc, realm), Fold()
        await CommitLoop(log, fold, Clock()).take_leadership("engine-1", "0")
        snapshots = Snapshots(store, realm)
        await snapshots.save(snapshots.take(fold))
        js = nc.jetstream()
        chunks = f"$O.IPLEDGER_SNAPSHOTS_{realm}.C.>"
        await js.purge_stream(f"OBJ_IPLEDGER_SNAPSHOTS_{realm}", subject=chunks)

        loaded = await load(log, snapshots)

        assert loaded.state.digest() == fold.state.digest()
        assert f"snapshot at commit 1 of realm {realm} skipped: it is torn" in caplog.text

    async def test_a_server_that_is_away_is_said_to_be(self, nc: NatsClient, realm: str) -> None:
        store = JetStreamSnapshots(nc, realm)
        await nc.close()
        with pytest.raises(SnapshotsUnavailableError, match="cannot list"):
            await store.sequences()
        with pytest.raises(SnapshotsUnavailableError, match="cannot write"):
            await store.put(1, parts(b"x"))
        with pytest.raises(SnapshotsUnavailableError, match="cannot read"):
            await read(cast("SnapshotStore", store), 1)
