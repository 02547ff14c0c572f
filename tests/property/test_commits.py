"""Commits: every event comes back as it was written, and a fold notices whatever was altered."""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.desk import NOON
from support.text import command

from ipledger.engine.decide import decide
from ipledger.events import commit
from ipledger.events.clock import format_time, parse_time
from ipledger.events.facts import (
    Address,
    Application,
    Candidate,
    Int64,
    Owner,
    Pod,
    PoolSpec,
    Requirement,
    ReservationSpec,
    Route,
    Selector,
    SubnetSpec,
)
from ipledger.events.log import BrokenLogError, Entry
from ipledger.events.types import ALL, AnyEvent, Event
from ipledger.projections.evolve import Moment, evolve
from ipledger.projections.fold import Fold
from ipledger.projections.state import State

MICROS_MAX = parse_time("9999-12-31T23:59:59.999999Z")

texts = st.text(st.characters(codec="utf-8"), max_size=20)
routes = st.builds(Route, texts, texts)
lists = st.lists(texts, max_size=3).map(tuple)
requirements = st.builds(Requirement, texts, texts, lists)
selectors = st.none() | st.builds(
    Selector,
    st.dictionaries(texts, texts, max_size=3),
    st.lists(requirements, max_size=3).map(tuple),
)
pods = st.builds(Pod, texts, texts, texts)
int64 = st.integers(-(2**63), 2**63 - 1)
strategies: dict[object, st.SearchStrategy[Any]] = {
    str: texts,
    Int64: int64,
    dict[str, Int64]: st.dictionaries(texts, int64, max_size=3),
    int: int64,
    Pod: pods,
    Pod | None: st.none() | pods,
    Owner | None: st.none() | st.builds(Owner, texts, texts, texts, texts),
    Application: st.builds(Application, texts, texts, texts, texts, texts, int64, int64),
    ReservationSpec: st.builds(ReservationSpec, texts, st.sampled_from((4, 6)), lists),
    tuple[Route, ...]: st.lists(routes, max_size=3).map(tuple),
    tuple[Address, ...]: st.lists(st.builds(Address, texts, texts, texts), max_size=3).map(tuple),
    tuple[Candidate, ...]: st.lists(
        st.builds(Candidate, texts, st.sampled_from((4, 6)), texts, texts), max_size=3
    ).map(tuple),
    dict[str, int]: st.dictionaries(texts, st.integers(0, 2**60), max_size=3),
    SubnetSpec: st.builds(
        SubnetSpec,
        texts,
        st.sampled_from((4, 6)),
        texts,
        lists,
        lists,
        texts,
        st.lists(routes, max_size=3).map(tuple),
    ),
    PoolSpec: st.builds(
        PoolSpec,
        texts,
        st.sampled_from((4, 6)),
        texts,
        ips=lists,
        exclude_ips=lists,
        gateway=texts,
        routes=st.lists(routes, max_size=3).map(tuple),
        default=st.booleans(),
        disable=st.booleans(),
        pod_affinity=selectors,
        namespace_name=lists,
        namespace_affinity=selectors,
        node_name=lists,
        node_affinity=selectors,
        multus_name=lists,
    ),
}


def events_of(kind: type[Event]) -> st.SearchStrategy[Any]:
    """Any event of a type: each field drawn by its type, those with a default sometimes left."""

    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for field in msgspec.structs.fields(kind):
        target = required if field.required else optional
        target[field.name] = strategies[field.type]
    return st.fixed_dictionaries(required, optional=optional).map(lambda given: kind(**given))


@pytest.mark.parametrize("kind", ALL)
@given(data=st.data())
def test_an_event_comes_back_as_it_was_written(kind: type[Event], data: st.DataObject) -> None:
    events: list[AnyEvent] = data.draw(st.lists(events_of(kind), min_size=1, max_size=3))
    micros = data.draw(st.integers(0, MICROS_MAX))
    payload = commit.encode(7, micros, "f" * 64, [commit.encode_event(e) for e in events])

    read = commit.decode(payload)

    assert read.events == tuple(events)
    assert (read.v, read.epoch, parse_time(read.time), read.prev) == (1, 7, micros, "f" * 64)
    assert all(json.loads(commit.encode_event(e))["type"] == kind.__name__ for e in events)
    assert b"\n" not in payload


def history(*texts: str) -> list[Entry]:
    """One commit a command, a second apart."""
    state, prev, entries = State(), commit.GENESIS, list[Entry]()
    for sequence, text in enumerate(texts, 1):
        now = NOON + sequence * 1_000_000
        events = decide(state, command(text), now).events
        for index, event in enumerate(events):
            evolve(state, event, Moment(sequence, index, now))
        payload = commit.encode(1, now, prev, map(commit.encode_event, events))
        prev = commit.digest(payload)
        entries.append(Entry(sequence, payload))
    return entries


HISTORY = history(
    "pool a 10.1.0.0/24 ips=10.1.0.1-10.1.0.9 default",
    "ADD p1",
    "ADD p2",
    "DEL p1-sandbox",
    "ADD p3",
)


def fold(entries: list[Entry]) -> Fold:
    folded = Fold()
    for entry in entries:
        folded.apply(entry)
    return folded


def edited(sequence: int, old: str, new: str) -> list[Entry]:
    """The history with one commit's text changed."""
    entries = list(HISTORY)
    text = entries[sequence - 1].payload.decode()
    assert old in text
    entries[sequence - 1] = Entry(sequence, text.replace(old, new, 1).encode())
    return entries


def test_a_whole_history_folds_to_its_end() -> None:
    assert fold(HISTORY).sequence == len(HISTORY)


@given(data=st.data())
def test_a_changed_byte_is_found_at_that_commit_or_the_next(data: st.DataObject) -> None:
    sequence = data.draw(st.integers(1, len(HISTORY) - 1))
    payload = bytearray(HISTORY[sequence - 1].payload)
    at = data.draw(st.integers(0, len(payload) - 1))
    payload[at] ^= data.draw(st.integers(1, 255))
    entries = list(HISTORY)
    entries[sequence - 1] = Entry(sequence, bytes(payload))

    with pytest.raises(BrokenLogError) as broken:
        fold(entries)
    assert broken.value.sequence in (sequence, sequence + 1)
    assert f"commit {broken.value.sequence}:" in str(broken.value)


@given(missing=st.integers(1, len(HISTORY) - 1))
def test_a_gap_is_found_and_names_the_commit_that_is_missing(missing: int) -> None:
    with pytest.raises(BrokenLogError, match=f"commit {missing}: missing") as broken:
        fold(HISTORY[: missing - 1] + HISTORY[missing:])
    assert broken.value.sequence == missing


@given(twice=st.integers(1, len(HISTORY)))
def test_an_entry_that_comes_twice_is_found(twice: int) -> None:
    with pytest.raises(BrokenLogError):
        fold(HISTORY[:twice] + HISTORY[twice - 1 :])


@given(lost=st.integers(1, len(HISTORY) - 1))
def test_a_lost_commit_is_found_even_where_the_numbers_close_up(lost: int) -> None:
    rest = [Entry(n, e.payload) for n, e in enumerate(HISTORY[: lost - 1] + HISTORY[lost:], 1)]
    with pytest.raises(BrokenLogError, match=f"commit {lost}: prev is") as broken:
        fold(rest)
    assert broken.value.sequence == lost


def test_a_wrong_prev_is_found_and_names_the_commit() -> None:
    prev = commit.digest(HISTORY[1].payload)
    with pytest.raises(BrokenLogError, match="commit 3: prev is 00000000"):
        fold(edited(3, prev, "0" * 64))


def test_a_first_commit_with_a_prev_is_found() -> None:
    with pytest.raises(BrokenLogError, match="commit 1: prev is"):
        fold(edited(1, "0" * 64, "1" * 64))


def test_time_that_goes_back_is_found_and_names_the_commit() -> None:
    before, now = (format_time(NOON + n * 1_000_000) for n in (2, 3))
    assert before < now
    with pytest.raises(BrokenLogError, match=r"commit 3: its time .* is before"):
        fold(edited(3, now, format_time(NOON + 1_999_999)))


def test_time_that_stands_still_is_accepted() -> None:
    entries = edited(3, format_time(NOON + 3_000_000), format_time(NOON + 2_000_000))
    assert fold(entries[:3]).sequence == 3


def test_an_unknown_format_is_found_and_named() -> None:
    with pytest.raises(BrokenLogError, match="commit 2: cannot be read: format v2 is newer"):
        fold(edited(2, '"v":1', '"v":2'))


def test_an_unknown_event_stops_the_fold_and_is_named() -> None:
    with pytest.raises(BrokenLogError, match=r"commit 2: cannot be read: .*AddressesInvented"):
        fold(edited(2, "AddressesAllocated", "AddressesInvented"))


@pytest.mark.parametrize(
    ("payload", "what"),
    [
        (b"", "truncated"),
        (b"not json", "JSON"),
        (b"[]", "object"),
        (b'{"v":1}', "epoch"),
        (b'{"v":1,"epoch":1,"time":"","prev":"","events":[]}', "without events"),
        (b'{"v":1,"epoch":1,"time":"","prev":"","events":[{"type":"Nonsense"}]}', "Nonsense"),
        (b'{"v":1,"epoch":1,"time":"","prev":"","events":[{"name":"a"}]}', "type"),
        (b'{"v":1,"epoch":1,"time":"","prev":"","events":[{"type":"PoolDeleted"}]}', "name"),
        (b'{"v":9,"epoch":1,"time":"","prev":"","events":[{"type":"New"}]}', "format v9"),
    ],
)
def test_what_is_no_commit_is_unreadable_and_says_why(payload: bytes, what: str) -> None:
    with pytest.raises(commit.UnreadableCommitError, match=what):
        commit.decode(payload)


def test_bytes_that_are_no_text_are_unreadable() -> None:
    payload = (
        b'{"v":1,"epoch":1,"time":"","prev":"","events":[{"type":"PoolDeleted","name":"\xff"}]}'
    )
    with pytest.raises(commit.UnreadableCommitError):
        commit.decode(payload)


@pytest.mark.parametrize("time", ["", "yesterday", "2026-11-22T12:00:00", "2026-13-01T00:00:00Z"])
def test_a_commit_whose_time_is_none_breaks_the_log(time: str) -> None:
    noon = format_time(NOON + 1_000_000)
    with pytest.raises(BrokenLogError, match="commit 1: cannot be read"):
        fold(edited(1, noon, time))


def test_an_event_that_contradicts_the_state_breaks_the_log() -> None:
    entries = edited(5, "10.1.0.3/24", "10.1.0.2/24")
    with pytest.raises(BrokenLogError, match=r"commit 5: event 0 \(AddressesAllocated\)"):
        fold(entries)


def test_every_event_type_has_a_name_of_its_own() -> None:
    assert len({kind.__name__ for kind in ALL}) == len(ALL)


def test_every_released_event_is_read() -> None:
    """`ALL`, the union that commits are decoded as, and what evolve knows are the same."""

    assert set(get_args(AnyEvent)) == set(ALL)
