"""The contract of the outbox's store (cni/outbox.py), which every implementation is held to."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from support.memory_store import MemoryStore

from ipledger.cni.outbox import OutboxStore, StoreError
from ipledger.cni.outbox_sqlite import SqliteStore
from ipledger.engine.commands import Release

TRACEPARENT = "00-" + 32 * "a" + "-" + 16 * "b" + "-01"
FIRST = Release(sandbox="s1", interface="eth0", traceparent=TRACEPARENT)
SECOND = Release(sandbox="s1", interface="net1")
THIRD = Release(sandbox="s2", interface="eth0", ended_pod="u1")


async def releases(store: OutboxStore) -> list[Release]:
    return [stored.release for stored in await store.pending()]


class StoreContract:
    """What holds for every store. A subclass gives the fixture `store`, an empty one."""

    async def test_what_was_put_is_pending_oldest_first(self, store: OutboxStore) -> None:
        for release in (FIRST, SECOND, THIRD):
            await store.put(release)
        assert await releases(store) == [FIRST, SECOND, THIRD]

    async def test_it_counts_what_it_keeps(self, store: OutboxStore) -> None:
        assert await store.count() == 0
        for release in (FIRST, SECOND, SECOND):
            await store.put(release)
        assert await store.count() == 2

    async def test_an_attachment_is_kept_once(self, store: OutboxStore) -> None:
        await store.put(FIRST)
        await store.put(Release(sandbox="s1", interface="eth0"))
        assert await releases(store) == [FIRST]

    async def test_what_was_deleted_is_pending_no_more(self, store: OutboxStore) -> None:
        for release in (FIRST, SECOND, THIRD):
            await store.put(release)
        await store.delete((await store.pending())[1].id)
        assert await releases(store) == [FIRST, THIRD]

    async def test_deleting_twice_is_no_error(self, store: OutboxStore) -> None:
        await store.put(FIRST)
        (stored,) = await store.pending()
        await store.delete(stored.id)
        await store.delete(stored.id)
        assert await store.pending() == []

    async def test_what_was_deleted_can_be_put_again(self, store: OutboxStore) -> None:
        await store.put(FIRST)
        await store.delete((await store.pending())[0].id)
        await store.put(FIRST)
        assert await releases(store) == [FIRST]

    async def test_the_node_is_not_kept(self, store: OutboxStore) -> None:
        await store.put(msgspec.structs.replace(THIRD, node="n1"))
        assert await releases(store) == [THIRD]


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> OutboxStore:
        return MemoryStore()


class TestSqliteStore(StoreContract):
    @pytest_asyncio.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[OutboxStore]:
        store = await SqliteStore.open(tmp_path / "agent.db")
        yield store
        await store.close()

    async def test_it_outlives_the_process(self, tmp_path: Path) -> None:
        first = await SqliteStore.open(tmp_path / "other.db")
        await first.put(FIRST)
        await first.close()
        second = await SqliteStore.open(tmp_path / "other.db")
        assert await releases(second) == [FIRST]
        await second.close()

    async def test_a_file_that_is_no_database_is_an_error_of_the_store(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "bad.db").write_bytes(b"not a database, and long enough to be read as one" * 99)
        with pytest.raises(StoreError, match="not a database"):
            await SqliteStore.open(tmp_path / "bad.db")

    async def test_a_database_that_is_locked_is_an_error_of_the_store(self, tmp_path: Path) -> None:
        store = await SqliteStore.open(tmp_path / "locked.db")
        await store.db.execute("PRAGMA busy_timeout = 0")
        blocker = sqlite3.connect(tmp_path / "locked.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            await store.put(FIRST)
        blocker.close()
        await store.close()
