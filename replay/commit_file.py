"""A log as text: a file with the stored commits, one a line, in order and byte for byte.

`jq` reads it, and so does everything that reads a log: the sequence of a commit is the number of
its line, and the hash of a line is what the next one has as `prev`.
"""

from __future__ import annotations

import mmap
from array import array
from collections.abc import AsyncIterator
from pathlib import Path

from ipledger.events.log import Entry


class CommitFileError(Exception):
    """The file cannot be used; the message says why."""


class CommitFile:
    """A `ReadableLog` in a text file, which is not written meanwhile."""

    def __init__(self, path: Path) -> None:
        """Raises `CommitFileError`."""
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        except OSError as error:
            raise CommitFileError(f"{path}: {error.strerror}") from error
        self._ends = _line_ends(self._data)

    def close(self) -> None:
        """Let go of the file."""
        if isinstance(self._data, mmap.mmap):
            self._data.close()

    async def last(self) -> int:
        """See `ReadableLog.last`."""
        return len(self._ends)

    async def get(self, sequence: int) -> Entry | None:
        """See `ReadableLog.get`."""
        if not 1 <= sequence <= len(self._ends):
            return None
        start = self._ends[sequence - 2] + 1 if sequence > 1 else 0
        return Entry(sequence, self._data[start : self._ends[sequence - 1]])

    async def read(self, after: int) -> AsyncIterator[Entry]:
        """See `ReadableLog.read`."""
        for sequence in range(after + 1, len(self._ends) + 1):
            entry = await self.get(sequence)
            assert entry is not None
            yield entry


def _line_ends(data: mmap.mmap | bytes) -> array[int]:
    """Where each line ends; the last one may have no newline."""
    ends, at = array("Q"), data.find(b"\n")
    while at >= 0:
        ends.append(at)
        at = data.find(b"\n", at + 1)
    if len(data) and (not ends or ends[-1] != len(data) - 1):
        ends.append(len(data))
    return ends
