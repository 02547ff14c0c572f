"""A log in memory that holds given commits."""

from __future__ import annotations

from ipledger.events.log import Entry
from ipledger.events.memory import MemoryLog


def memory_log(*entries: Entry) -> MemoryLog:
    """A log with these commits, whatever is in them."""
    log = MemoryLog()
    log.payloads.extend(entry.payload for entry in entries)
    return log
