"""What is read of logs and their copies: commits, exports, ledgers, snapshots.

Whoever wrote one may have been somebody else: each is good, or says where it is not.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from support.memory import memory_log

from fuzz.target import Run, check_text
from ipledger.engine.snapshot_store import MemorySnapshots
from ipledger.engine.snapshots import Snapshots, load
from ipledger.events import commit
from ipledger.events.ledger import Ledger, LedgerError
from ipledger.events.log import BrokenLogError, Entry, ReadableLog
from ipledger.events.position import Position
from ipledger.projections.fold import Fold
from ipledger.replay.commit_file import CommitFile
from ipledger.replay.export import ExportError, export
from ipledger.replay.history_store import HistoryStore
from ipledger.replay.history_writer import HistoryWriter
from ipledger.replay.log import UnreadableCommit, events
from ipledger.replay.verify import Report, verify

HISTORY = Path(__file__).parents[1] / "histories" / "v1" / "history.jsonl"
PREV = b'"prev":"@"'
"""In an input, what stands for the hash of the commit before."""

LOG_MAX = 1 << 20


def history() -> list[Entry]:
    """The commits of a whole history."""
    lines = HISTORY.read_bytes().splitlines()
    return [Entry(number, line) for number, line in enumerate(lines, 1)]


def _check_report(report: Report) -> None:
    if not report.ok:
        check_text(report.reason)
        Position.parse(report.bad_position)


async def _read(log: ReadableLog, folder: Path) -> None:
    """Everything that reads a log: none fails but by the errors that readers expect."""
    report = await verify(log)
    _check_report(report)
    async for found in events(log.read(0)):
        if isinstance(found, UnreadableCommit):
            check_text(found.reason)
        else:
            found.record()
    await _fold(log, report)
    await _write(log, folder)


async def _fold(log: ReadableLog, report: Report) -> None:
    fold = Fold()
    try:
        async for entry in log.read(0):
            fold.apply(entry)
    except BrokenLogError as error:
        check_text(str(error))
        assert not report.ok
    else:
        assert not report.ok or fold.state.digest() == report.digest


async def _write(log: ReadableLog, folder: Path) -> None:
    for kind in ("csv", "jsonl"):
        copy = folder / f"copy.{kind}"
        try:
            await export(log, copy, kind, "realm")
        except (ExportError, BrokenLogError) as error:
            check_text(str(error))
        copy.unlink(missing_ok=True)
    store = await HistoryStore.open(Path(":memory:"))
    try:
        await HistoryWriter(store).catch_up(log, await log.last())
    except BrokenLogError as error:
        check_text(str(error))
    finally:
        await store.close()


@contextmanager
def _reading() -> Generator[tuple[asyncio.Runner, Path]]:
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        yield runner, Path(folder)


@contextmanager
def commits() -> Generator[Run]:
    """The payload of the commit behind a history; its `prev` is put right where it is `@`."""
    before = history()
    prev = b'"prev":"%s"' % commit.digest(before[-1].payload).encode()
    with _reading() as (runner, folder):

        def run(data: bytes) -> None:
            payload = data.replace(PREV, prev)
            log = memory_log(*before, Entry(len(before) + 1, payload))
            runner.run(_read(log, folder))

        yield run


@contextmanager
def exports() -> Generator[Run]:
    """A file of commits, one a line."""
    with _reading() as (runner, folder):

        def run(data: bytes) -> None:
            path = folder / "log.jsonl"
            path.write_bytes(data)
            file = CommitFile(path)
            try:
                runner.run(_read(file, folder))
            finally:
                file.close()

        yield run


@contextmanager
def ledgers() -> Generator[Run]:
    """A SQLite file that says to be a ledger."""
    with _reading() as (runner, folder):

        async def read(path: Path) -> None:
            try:
                ledger = await Ledger.reading(path)
            except LedgerError as error:
                check_text(str(error))
                return
            try:
                await _read(ledger, folder)
            except LedgerError as error:
                check_text(str(error))
            finally:
                await ledger.close()

        def run(data: bytes) -> None:
            path = folder / "ledger.db"
            path.write_bytes(data)
            runner.run(read(path))
            for beside in folder.glob("ledger.db-*"):
                beside.unlink()

        yield run


@contextmanager
def snapshots() -> Generator[Run]:
    """A snapshot behind the last commit of a history: used or not, the state is the log's."""
    entries = history()
    log = memory_log(*entries)
    expected = Fold()
    for entry in entries:
        expected.apply(entry)
    digest = expected.state.digest()
    logging.getLogger("ipledger.engine.snapshots").disabled = True
    try:
        with asyncio.Runner() as runner:

            async def begin(data: bytes) -> None:
                store = MemorySnapshots()
                store.kept[len(entries)] = data
                fold = await load(log, Snapshots(store, "default"))
                assert fold.state.digest() == digest

            yield lambda data: runner.run(begin(data))
    finally:
        logging.getLogger("ipledger.engine.snapshots").disabled = False
