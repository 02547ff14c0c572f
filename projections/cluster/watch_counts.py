"""What a watch counts of itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class WatchCounts:
    """Counts of a watch of `resource`, the plural of a kind, since it was made.

    `heard_at` is when the last list or event came, in seconds since the Unix epoch, 0 before.
    """

    resource: str
    lists: int = 0
    restarts: int = 0
    failures: int = 0
    events: int = 0
    objects: int = 0
    is_synced: bool = False
    heard_at: float = 0.0
