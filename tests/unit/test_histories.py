"""Golden histories: what a released version stored is read for ever, to the same state.

How to renew a digest on purpose: `support.golden`.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from support.desk import replay
from support.golden import read_history

from ipledger.events.types import ALL
from ipledger.projections.state import State

HISTORIES = sorted((Path(__file__).parents[1] / "histories").iterdir())
NEWEST = HISTORIES[-1]


def test_there_is_a_history() -> None:
    assert HISTORIES


@pytest.mark.parametrize("folder", HISTORIES, ids=lambda folder: folder.name)
def test_a_golden_history_folds_to_its_digest(folder: Path) -> None:
    assert replay(read_history(folder)).digest() == (folder / "digest").read_text().strip()


def test_the_newest_history_has_every_event_type() -> None:
    events = [event for line in read_history(NEWEST) for event in json.loads(line)["events"]]
    assert {kind.__name__ for kind in ALL} == {event["type"] for event in events}


def test_the_newest_history_has_every_field_of_every_event_type() -> None:
    """A field that no history holds could change its meaning or name unseen."""
    seen: dict[str, set[str]] = {}
    for line in read_history(NEWEST):
        for event in json.loads(line)["events"]:
            seen.setdefault(event["type"], set()).update(event)
    for kind in ALL:
        fields = {field.encode_name for field in msgspec.structs.fields(kind)}
        assert fields <= seen[kind.__name__], kind.__name__


def test_the_digest_tells_different_states_apart() -> None:
    payloads = read_history(NEWEST)
    digests = {replay(payloads[:count]).digest() for count in range(len(payloads) + 1)}
    assert len(digests) == len(payloads) + 1
    assert replay([]).digest() == State().digest()
