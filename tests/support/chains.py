"""Chained commits for tests that do not care what is in them."""

from __future__ import annotations

from collections.abc import Sequence

from ipledger.events import commit
from ipledger.events.log import Entry
from ipledger.events.types import AnyEvent, LeadershipTaken
from support.desk import NOON, SECOND


def chain(count: int, engine: str = "e") -> list[Entry]:
    """That many commits, each a term of an engine's leadership."""
    return chained(
        *((LeadershipTaken(epoch=n, engine=engine, version="0"),) for n in range(1, count + 1))
    )


def chained(*commits: Sequence[AnyEvent]) -> list[Entry]:
    """Commits of these events, a second apart."""
    entries: list[Entry] = []
    prev = commit.GENESIS
    for sequence, events in enumerate(commits, 1):
        encoded = map(commit.encode_event, events)
        payload = commit.encode(1, NOON + sequence * SECOND, prev, encoded)
        prev = commit.digest(payload)
        entries.append(Entry(sequence, payload))
    return entries
