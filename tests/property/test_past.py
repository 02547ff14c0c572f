"""Any moment of a log, through its history, is what a fresh fold of the log has there."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest
from support import traffic
from support.histories import Told, build, content, told

from ipledger.engine import queries
from ipledger.events.clock import parse_time
from ipledger.events.commit import decode
from ipledger.events.position import START, Position
from ipledger.events.types import AddressesAllocated
from ipledger.projections.evolve import Moment, evolve
from ipledger.projections.row_makers import allocation_row
from ipledger.projections.state import State
from ipledger.replay.annotate import Tracks
from ipledger.replay.difference import applied, differences, picture
from ipledger.replay.past import Past
from ipledger.replay.reads import StateReads
from ipledger.replay.touching import touching

SEEDS = (1, 2, 3)


def fresh(log: Told, until: Position) -> State:
    """The state at a position, folded from the first event on."""
    state = State()
    for entry in log.entries[: until.sequence]:
        commit = decode(entry.payload)
        for index, event in enumerate(commit.events):
            if Position(entry.sequence, index) <= until:
                evolve(state, event, Moment(entry.sequence, index, parse_time(commit.time)))
    return state


def positions(log: Told, seed: int, count: int) -> list[Position]:
    every = [START, *log.positions]
    return sorted([every[0], every[-1], *random.Random(seed).sample(every, count)])


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_state_of_the_past_is_the_one_that_a_fresh_fold_reaches(
    seed: int, tmp_path: Path
) -> None:
    log = told(traffic.entries(900, seed))
    async with build(log, tmp_path / "h.db") as past:
        for position in positions(log, seed, 12):
            state, expected = await past.state(position), fresh(log, position)
            assert state.digest() == expected.digest(), position
            rows = [r async for p in StateReads(state).allocations(ALL) for r in p.allocations]
            assert rows == [allocation_row(a) for a in expected.allocations.all()]


ALL = queries.AllocationsWhere()


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_holder_of_an_address_is_the_one_that_the_state_has(
    seed: int, tmp_path: Path
) -> None:
    log = told(traffic.entries(900, seed))
    async with build(log, tmp_path / "h.db") as past:
        addresses = [a for (a,) in await past.store.query("SELECT DISTINCT address FROM intervals")]
        for position in positions(log, seed, 6):
            held = {
                address.ip: (a.pod_uid, a.node, a.id, a.is_held)
                for a in fresh(log, position).allocations.all()
                for address in a.addresses
            }
            for address in addresses:
                found = (await past.holding(address, position)).interval
                if found is None:
                    assert address not in held
                else:
                    allocation = f"a{found.allocation}"
                    assert held[address] == (found.uid, found.node, allocation, found.held)


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_difference_of_two_moments_leads_from_one_to_the_other(
    seed: int, tmp_path: Path
) -> None:
    log = told(traffic.entries(600, seed))
    async with build(log, tmp_path / "h.db") as past:
        moments = positions(log, seed, 5)
        pictures = [picture(await past.state(position)) for position in moments]
        for before in pictures:
            for after in pictures:
                assert applied(before, differences(before, after)) == after


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_history_has_the_same_content_in_however_many_parts_it_was_read(
    seed: int, tmp_path: Path
) -> None:
    log = told(traffic.entries(900, seed))
    at = random.Random(seed)
    async with build(log, tmp_path / "whole.db"):
        pass
    for last in [*sorted(at.sample(range(1, log.sequence), 5)), log.sequence]:
        async with build(log, tmp_path / "parts.db", last=last):
            pass
    assert content(tmp_path / "parts.db") == content(tmp_path / "whole.db")


async def test_a_history_that_is_followed_has_the_same_content(tmp_path: Path) -> None:
    log = told(traffic.entries(400, 5))
    async with build(log, tmp_path / "whole.db"):
        pass
    async with build(log, tmp_path / "followed.db", follow=True):
        pass
    assert content(tmp_path / "followed.db") == content(tmp_path / "whole.db")


@pytest.mark.parametrize("seed", SEEDS)
async def test_every_event_about_an_address_touches_it_and_no_other_does(
    seed: int, tmp_path: Path
) -> None:
    log = told(traffic.entries(500, seed))
    async with build(log, tmp_path / "h.db") as past:
        expected: dict[str, list[int]] = {}
        addresses_of: dict[str, list[str]] = {}
        for position, event in log.events():
            name = getattr(event, "allocation", "")
            if isinstance(event, AddressesAllocated):
                addresses_of[name] = [held.ip for held in event.addresses]
            for address in addresses_of.get(name, ()):
                expected.setdefault(address, []).append(position.number)
        for address, numbers in expected.items():
            end = (await past.now()).position
            assert await touching(past, "ip", address, START, end) == numbers


async def test_annotation_is_right_to_the_microsecond_at_every_border(tmp_path: Path) -> None:
    log = told(traffic.entries(900, 4))
    async with build(log, tmp_path / "h.db") as past:
        tracks = Tracks(past)
        await tracks.load()
        borders = await past.store.query(
            "SELECT id, address, from_time, to_time FROM intervals"
            " WHERE to_time IS NULL OR to_time > from_time"
        )
        assert len(borders) > 100
        for interval, address, begin, end in borders:
            assert tracks.find(address, begin) == interval
            assert tracks.find(address, begin - 1) != interval
            if end is not None:
                assert tracks.find(address, end - 1) == interval
                assert tracks.find(address, end) != interval
            await agrees_with_position(past, tracks, address, begin - 1)
            await agrees_with_position(past, tracks, address, begin)


async def agrees_with_position(past: Past, tracks: Tracks, address: str, time: int) -> None:
    """The time and the position it stands for have the same holder."""
    moment = await past.at_time(time)
    found = (await past.holding(address, moment.position)).interval
    assert (found.id if found else 0) == tracks.find(address, time)


async def test_plain_sqlite_reads_the_views(tmp_path: Path) -> None:
    log = told(traffic.entries(300, 6))
    async with build(log, tmp_path / "h.db"):
        pass
    db = sqlite3.connect(tmp_path / "h.db")
    try:
        [first] = db.execute("SELECT position, time, type FROM event_list LIMIT 1")
        assert first == ("1.0", decode(log.entries[0].payload).time, "LeadershipTaken")
        [row] = db.execute(
            "SELECT address, since, from_position, until FROM holders WHERE allocation = 'a1'"
            " ORDER BY 1 LIMIT 1"
        )
        assert row[1].endswith("Z")
        assert "." in row[2]
    finally:
        db.close()


@pytest.mark.parametrize("seed", SEEDS)
async def test_how_many_addresses_a_pool_used_is_what_the_states_had(
    seed: int, tmp_path: Path
) -> None:
    log = told(traffic.entries(900, seed))
    async with build(log, tmp_path / "h.db") as past:
        moments = [await past.at_position(p) for p in positions(log, seed, 6)]
        moments = [await past.at_time(moment.time) for moment in moments if moment.time]
        states = [fresh(log, moment.position) for moment in moments]
        for name in {name for state in states for name in state.pools}:
            used = await past.used(name, [moment.time for moment in moments])
            pools = [state.pools.get(name) for state in states]
            assert list(used) == [len(pool.taken) if pool else 0 for pool in pools]
