"""Reading and writing flow records: JSON lines or CSV, a chunk at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec

from ipledger.events.quoting import QUOTE_MAX, cut
from ipledger.replay.annotate import Holder, Tracks, time_of

_CHUNK = 20_000
_NOBODY: tuple[str, ...] = ("",) * len(Holder._fields)
_FLAWS_MAX = 20


@dataclass(slots=True)
class Flaws:
    """Records that could not be used: how many, and the first of them with what is wrong."""

    count: int = 0
    shown: list[str] = field(default_factory=list[str])

    def add(self, number: int, what: object) -> None:
        """Note a record, by its line."""
        self.count += 1
        if self.count <= _FLAWS_MAX:
            self.shown.append(f"line {number}: {cut(str(what), QUOTE_MAX)}")


@dataclass(frozen=True, slots=True)
class Fields:
    """Where a record has its addresses and its time; `unit` is that of `annotate.UNITS`."""

    addresses: tuple[str, ...]
    time: str
    unit: int


async def annotate_jsonl(
    tracks: Tracks, lines: Iterator[bytes], fields: Fields, flaws: Flaws
) -> AsyncIterator[bytes]:
    """JSON lines with the holders' fields; what each line had before stays as it was written."""
    decode, find = _decoder(fields), tracks.find
    suffixes: list[dict[int, bytes]] = [{0: b""} for _ in fields.addresses]
    number = 0
    while chunk := list(islice(lines, _CHUNK)):
        rows: list[tuple[int, ...] | None] = []
        for line in chunk:
            number += 1
            try:
                time, *addresses = decode(line)
                at = time_of(time, fields.unit)
                rows.append(tuple([find(address, at) for address in addresses]))
            except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
                flaws.add(number, error)
                rows.append(None)
        await _describe(tracks, fields, rows, suffixes)
        yield b"".join(
            [
                line if row is None else _extended(line, row, suffixes)
                for line, row in zip(chunk, rows, strict=True)
            ]
        )


async def annotate_csv(
    tracks: Tracks, lines: Iterator[bytes], fields: Fields, flaws: Flaws
) -> AsyncIterator[bytes]:
    """CSV with the holders' columns behind the others.

    Raises `ValueError` on missing columns, and on what is no CSV.
    """
    reader = csv.reader(line.decode() for line in lines)
    records = _records(reader)
    titles: list[str] = next(records, [""])
    at = [_column(titles, name) for name in (fields.time, *fields.addresses)]
    added = [f"{name}_{part}" for name in fields.addresses for part in Holder._fields]
    yield _written([[*titles, *added]])
    while chunk := list(islice(records, _CHUNK)):
        rows: list[tuple[int, ...] | None] = []
        for record in chunk:
            try:
                time, *addresses = [record[index] for index in at]
                moment = time_of(time, fields.unit)
                rows.append(tuple([tracks.find(address, moment) for address in addresses]))
            except (ValueError, LookupError, OverflowError) as error:
                flaws.add(reader.line_num - len(chunk) + len(rows) + 1, error)
                rows.append(None)
        known = await tracks.holders([found for row in rows if row for found in row])
        nobody = (0,) * len(fields.addresses)
        yield _written(
            [
                [*record, *(part for found in row or nobody for part in known.get(found, _NOBODY))]
                for record, row in zip(chunk, rows, strict=True)
            ]
        )


def _records(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise ValueError(f"not CSV: {error}") from error


def _decoder(fields: Fields) -> Callable[[bytes], Sequence[Any]]:
    """Reads the fields that are wanted, and skips the others."""
    names = {"time": fields.time, **{f"ip{i}": n for i, n in enumerate(fields.addresses)}}
    addresses = [(f"ip{i}", str) for i in range(len(fields.addresses))]
    flow = msgspec.defstruct(
        "Flow", [("time", int | float | str), *addresses], rename=names, gc=False
    )
    decode: Callable[[bytes], msgspec.Struct] = msgspec.json.Decoder(flow).decode
    astuple = msgspec.structs.astuple
    return lambda line: astuple(decode(line))


async def _describe(
    tracks: Tracks,
    fields: Fields,
    rows: Sequence[tuple[int, ...] | None],
    suffixes: Sequence[dict[int, bytes]],
) -> None:
    """Make the texts of holders that are new."""
    for place, (name, known) in enumerate(zip(fields.addresses, suffixes, strict=True)):
        if len(known) > len(rows) + 65_536:
            known.clear()
            known[0] = b""
        new = sorted({row[place] for row in rows if row is not None} - known.keys())
        holders = await tracks.holders(new)
        for found in new:
            parts = zip(Holder._fields, holders[found], strict=True)
            added = {f"{name}_{part}": value for part, value in parts}
            known[found] = b"," + msgspec.json.encode(added)[1:-1]


def _extended(line: bytes, row: tuple[int, ...], suffixes: Sequence[dict[int, bytes]]) -> bytes:
    added = b"".join([known[found] for known, found in zip(suffixes, row, strict=True)])
    return b"%b%b}\n" % (line.rstrip()[:-1], added)


def _column(titles: Sequence[str], name: str) -> int:
    if name not in titles:
        raise ValueError(f"no column {name!r}; there are {cut(', '.join(titles))}")
    return titles.index(name)


def _written(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
