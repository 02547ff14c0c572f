"""What a ledger file promises: the commits byte for byte, and no file taken for what it is not."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator
from pathlib import Path

import aiosqlite
import pytest
from support.chains import chain

from ipledger.events.chain import EMPTY, Head
from ipledger.events.commit import digest
from ipledger.events.ledger import Ledger, LedgerError
from ipledger.events.log import BrokenLogError, Entry

COMMITS = chain(600)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "ledger.db"


@pytest.fixture
async def ledger(path: Path) -> AsyncGenerator[Ledger]:
    ledger = await Ledger.open(path, "shop")
    yield ledger
    await ledger.close()


async def entries(ledger: Ledger, after: int = 0) -> list[Entry]:
    return [entry async for entry in ledger.read(after)]


def head_of(commits: list[Entry]) -> Head:
    return Head(commits[-1].sequence, digest(commits[-1].payload))


async def test_a_new_ledger_is_empty(ledger: Ledger) -> None:
    assert ledger.head == EMPTY
    assert await ledger.last() == 0
    assert await entries(ledger) == []
    assert await ledger.get(1) is None


async def test_commits_are_kept_byte_for_byte(ledger: Ledger) -> None:
    await ledger.append(COMMITS[:1])
    await ledger.append(COMMITS[1:])

    assert await entries(ledger) == COMMITS
    assert await entries(ledger, after=598) == COMMITS[598:]
    assert await ledger.get(300) == COMMITS[299]
    assert (await ledger.last(), ledger.head) == (600, head_of(COMMITS))


async def test_a_ledger_goes_on_where_it_was_closed(path: Path) -> None:
    first = await Ledger.open(path, "shop")
    await first.append(COMMITS[:5])
    await first.close()

    again = await Ledger.open(path, "shop")
    assert again.head == head_of(COMMITS[:5])
    await again.append(COMMITS[5:7])
    assert await entries(again) == COMMITS[:7]
    await again.close()


@pytest.mark.parametrize(
    ("commits", "what"),
    [
        ([COMMITS[4]], "commit 4: missing: the log goes on at 5"),
        ([COMMITS[3], COMMITS[5]], "commit 5: missing: the log goes on at 6"),
        ([COMMITS[2]], "commit 4: missing: the log goes on at 3"),
        ([Entry(4, COMMITS[4].payload)], "commit 4: prev is"),
        ([COMMITS[3], Entry(5, COMMITS[4].payload + b" "), COMMITS[5]], "commit 6: prev is"),
        ([Entry(4, b"no JSON")], "commit 4: cannot be read"),
    ],
)
async def test_what_does_not_continue_the_chain_is_refused_and_nothing_of_it_is_kept(
    ledger: Ledger, commits: list[Entry], what: str
) -> None:
    await ledger.append(COMMITS[:3])

    with pytest.raises(BrokenLogError, match=what):
        await ledger.append(commits)

    assert ledger.head == head_of(COMMITS[:3])
    assert await entries(ledger) == COMMITS[:3]
    await ledger.append(COMMITS[3:5])
    assert await ledger.last() == 5


async def test_an_append_without_room_keeps_nothing_and_can_be_tried_again(ledger: Ledger) -> None:
    await ledger.append(COMMITS[:3])
    used = await (await ledger.db.execute("PRAGMA page_count")).fetchone()
    assert used is not None
    await ledger.db.execute(f"PRAGMA max_page_count = {used[0]}")
    with pytest.raises(aiosqlite.OperationalError, match="full"):
        await ledger.append(COMMITS[3:])
    assert ledger.head == head_of(COMMITS[:3])

    await ledger.db.execute("PRAGMA max_page_count = 1000000")
    await ledger.append(COMMITS[3:])
    assert await entries(ledger) == COMMITS


async def test_reading_while_it_grows_ends_at_what_was_there(ledger: Ledger) -> None:
    await ledger.append(COMMITS[:300])
    seen: list[Entry] = []
    async for entry in ledger.read(0):
        if not seen:
            await ledger.append(COMMITS[300:])
        seen.append(entry)
    assert seen == COMMITS[:300]


async def test_a_ledger_is_read_while_it_is_written(ledger: Ledger, path: Path) -> None:
    await ledger.append(COMMITS[:3])
    reader = await Ledger.reading(path)
    assert (reader.realm, await entries(reader)) == ("shop", COMMITS[:3])
    await ledger.append(COMMITS[3:4])
    assert await reader.last() == 4
    await reader.close()


async def test_a_second_writer_is_told_so(ledger: Ledger, path: Path) -> None:
    other = await Ledger.open(path, "shop")
    await other.append(COMMITS[:2])
    with pytest.raises(LedgerError, match="another process writes it"):
        await ledger.append(COMMITS[:3])
    await other.close()


async def test_a_ledger_of_another_realm_is_refused(ledger: Ledger, path: Path) -> None:
    for opening in (Ledger.open(path, "bank"), Ledger.reading(path, "bank")):
        with pytest.raises(LedgerError, match="is of realm 'shop', not of 'bank'"):
            await opening


async def test_a_newer_ledger_is_refused(ledger: Ledger, path: Path) -> None:
    await ledger.db.execute("UPDATE meta SET value = '2' WHERE key = 'schema'")
    await ledger.db.commit()
    with pytest.raises(LedgerError, match="has schema '2', this release reads 1"):
        await Ledger.open(path, "shop")


async def test_a_ledger_whose_newest_commit_was_changed_is_refused(
    ledger: Ledger, path: Path
) -> None:
    await ledger.append(COMMITS[:3])
    await ledger.db.execute("UPDATE commits SET payload = payload || ' ' WHERE sequence = 3")
    await ledger.db.commit()
    with pytest.raises(LedgerError, match="damaged: commit 3 was changed"):
        await Ledger.open(path, "shop")


async def test_another_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "agent.db"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE releases (id INTEGER)")
    db.close()
    before = other.read_bytes()
    for opening in (Ledger.open(other, "shop"), Ledger.reading(other)):
        with pytest.raises(LedgerError, match="is not a ledger"):
            await opening
    assert other.read_bytes() == before


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database, and long enough to have a header of one" * 20)
    for opening in (Ledger.open(text, "shop"), Ledger.reading(text)):
        with pytest.raises(LedgerError, match=r"notes\.txt.*not a database"):
            await opening


async def test_reading_a_ledger_that_is_not_there_does_not_make_one(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="no such file"):
        await Ledger.reading(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()
