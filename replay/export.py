"""Copies of a log in a file: as text, as a ledger, as a table of events.

The first two hold every stored byte, so that `verify` and every read take them for the log. The
table is for spreadsheets: a row an event, with what most of them have.
"""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

from ipledger.events.commit import UnreadableCommitError
from ipledger.events.facts import Address, Pod
from ipledger.events.ledger import Ledger
from ipledger.events.log import Entry, ReadableLog
from ipledger.replay.log import LoggedEvent, logged

FORMATS = ("jsonl", "csv", "sqlite")

COLUMNS = (
    "position",
    "time",
    "type",
    "allocation",
    "namespace",
    "pod",
    "uid",
    "node",
    "sandbox",
    "interface",
    "addresses",
    "pools",
    "reason",
    "evidence",
    "event",
)

_LEDGER_COMMITS = 500

Progress = Callable[[int], None]


class ExportError(Exception):
    """The copy cannot be made; nothing is left of it. The message says why."""


async def export(
    log: ReadableLog, path: Path, kind: str, realm: str, progress: Progress = lambda done: None
) -> int:
    """Write a copy of a log to a file that is not there yet. Returns how many commits it has.

    The file comes into being whole or not at all. Raises `ExportError`, `LogUnavailableError`,
    `BrokenLogError`.
    """
    if _is_there(path):
        raise ExportError(f"{path} is there already")
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            part = Path(folder) / path.name
            count = await _WRITERS[kind](_told(log, progress), part, realm)
            os.replace(part, path)
    except OSError as error:
        raise ExportError(f"{path}: {error.strerror}") from error
    return count


def _is_there(path: Path) -> bool:
    return os.path.lexists(path)


async def _told(log: ReadableLog, progress: Progress) -> AsyncIterator[Entry]:
    async for entry in log.read(0):
        yield entry
        progress(entry.sequence)


async def _jsonl(entries: AsyncIterator[Entry], path: Path, realm: str) -> int:
    count = 0
    with path.open("wb") as file:
        async for entry in entries:
            if b"\n" in entry.payload:
                what = "has a line break in it, so that lines cannot be told apart"
                raise ExportError(f"commit {entry.sequence} {what}; export it as sqlite")
            file.write(entry.payload + b"\n")
            count = entry.sequence
    return count


async def _sqlite(entries: AsyncIterator[Entry], path: Path, realm: str) -> int:
    ledger = await Ledger.open(path, realm)
    try:
        waiting: list[Entry] = []
        async for entry in entries:
            waiting.append(entry)
            if len(waiting) == _LEDGER_COMMITS:
                await ledger.append(waiting)
                waiting.clear()
        await ledger.append(waiting)
        await ledger.db.execute("PRAGMA journal_mode = DELETE")  # one file, for who gets it
        return ledger.head.sequence
    finally:
        await ledger.close()


async def _csv(entries: AsyncIterator[Entry], path: Path, realm: str) -> int:
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        async for entry in entries:
            try:
                writer.writerows(map(_row, logged(entry)))
            except UnreadableCommitError as error:
                what = f"commit {entry.sequence} cannot be read: {error}"
                raise ExportError(f"{what}; export it as sqlite") from error
            count = entry.sequence
    return count


def _row(found: LoggedEvent) -> Iterable[str]:
    event: Any = found.event
    pod: Pod | None = getattr(event, "pod", None)
    addresses: tuple[Address, ...] = getattr(event, "addresses", ())
    return (
        str(found.position),
        found.time,
        type(event).__name__,
        getattr(event, "allocation", ""),
        *((pod.namespace, pod.name, pod.uid) if pod else ("", "", "")),
        getattr(event, "node", ""),
        getattr(event, "sandbox", ""),
        getattr(event, "interface", ""),
        " ".join(held.address for held in addresses),
        " ".join(held.pool for held in addresses),
        getattr(event, "reason", ""),
        getattr(event, "evidence", ""),
        found.raw.decode(),
    )


_WRITERS = {"jsonl": _jsonl, "csv": _csv, "sqlite": _sqlite}
