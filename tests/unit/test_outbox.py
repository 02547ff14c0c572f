"""The outbox keeps what the engine could not take, and goes on after trouble with its disk."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from ipledger.cni.outbox import Outbox
from ipledger.engine.answers import Released
from ipledger.engine.client import EngineClient
from ipledger.engine.commands import Release

RELEASE = Release(sandbox="s1", interface="eth0", node="n1")


class Taking(EngineClient):
    """An engine that takes every release, and tells of each."""

    def __init__(self) -> None:
        self.taken: asyncio.Queue[Release] = asyncio.Queue()

    async def release(self, command: Release, timeout_s: float | None = None) -> Released:
        self.taken.put_nowait(command)
        return Released("1.0")


async def test_a_release_is_kept_once_and_outlives_the_process(tmp_path: Path) -> None:
    outbox = await Outbox.open(tmp_path / "agent.db", "n1")
    await outbox.put(RELEASE)
    await outbox.put(RELEASE)
    await outbox.close()
    again = await Outbox.open(tmp_path / "agent.db", "n1")
    assert [release for _, release in await again.pending()] == [RELEASE]
    await again.close()


async def test_sending_goes_on_when_the_database_was_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ipledger.cni.outbox._RETRY_S", 0.01)
    outbox = await Outbox.open(tmp_path / "agent.db", "n1")
    await outbox.db.execute("PRAGMA busy_timeout = 0")
    await outbox.put(RELEASE)
    engine = Taking()
    blocker = sqlite3.connect(tmp_path / "agent.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    sending = asyncio.create_task(outbox.send(engine))
    async with asyncio.timeout(30):
        for _ in range(2):  # taken, not struck off the list, and so sent again
            assert await engine.taken.get() == RELEASE
        assert not sending.done()
        blocker.execute("ROLLBACK")
        while await outbox.pending():
            assert await engine.taken.get() == RELEASE
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    blocker.close()
    await outbox.close()
