"""What the log says was decided is decided again: by `why`, and by `simulate` as it was."""

from __future__ import annotations

import pytest
from support import traffic

from ipledger.engine.commands import ApplyPool
from ipledger.events.clock import parse_time
from ipledger.events.commit import decode
from ipledger.events.facts import PoolSpec
from ipledger.events.types import AddressesAllocated, AllocationRefused
from ipledger.projections.evolve import Moment, evolve
from ipledger.projections.pool import Pool
from ipledger.projections.state import State
from ipledger.replay.simulate import Simulation
from ipledger.replay.why import NO, reconsidered

SEEDS = (1, 2, 3)
LARGER = PoolSpec("scarce", 4, "10.99.0.0/24", ("10.99.0.10-10.99.0.250",))


@pytest.mark.parametrize("seed", SEEDS)
def test_every_verdict_follows_from_the_state_before_it(seed: int) -> None:
    state, decisions = State(), 0
    for entry in traffic.entries(4000, seed, scarce=4):
        commit = decode(entry.payload)
        for index, event in enumerate(commit.events):
            if isinstance(event, AddressesAllocated | AllocationRefused):
                found = reconsidered(state, event)
                assert [c for c in found if c.agrees == NO] == [], event
                assert [c.pool for c in found] == [c.pool for c in event.decision]
                decisions += len(found)
            evolve(state, event, Moment(entry.sequence, index, parse_time(commit.time)))
    assert decisions > 1000


def test_a_verdict_that_does_not_follow_is_found() -> None:
    """The pool that was exhausted has addresses in this state."""
    refusals = [
        event
        for entry in traffic.entries(4000, 1, scarce=4)
        for event in decode(entry.payload).events
        if isinstance(event, AllocationRefused)
    ]
    state = State()
    for name in ("lab-v4", "scarce"):
        spec = PoolSpec(name, 4, "10.99.0.0/24", ("10.99.0.10-10.99.0.59",))
        state.pools[name] = Pool(spec)

    [found] = reconsidered(state, refusals[0])

    assert (found.verdict, found.again, found.agrees) == ("exhausted", "chosen: 10.99.0.10", NO)


def simulated(seed: int, *commands: ApplyPool) -> Simulation:
    simulation = Simulation(State(), State(), commands)
    for entry in traffic.entries(4000, seed, scarce=4):
        commit = decode(entry.payload)
        for index, event in enumerate(commit.events):
            at = Moment(entry.sequence, index, parse_time(commit.time))
            simulation.enter(event, at)
    return simulation


@pytest.mark.parametrize("seed", SEEDS)
def test_with_nothing_changed_a_simulation_has_the_recorded_peaks_and_refusals(seed: int) -> None:
    simulation = simulated(seed)

    assert simulation.refusals == []
    outlook = simulation.outlook()
    assert any(row.recorded_refused for row in outlook)
    for row in outlook:
        assert (row.peak, row.refused) == (row.recorded_peak, row.recorded_refused), row


@pytest.mark.parametrize("seed", SEEDS)
def test_with_a_pool_that_is_large_enough_nobody_is_refused(seed: int) -> None:
    outlook = {row.pool: row for row in simulated(seed, ApplyPool(pool=LARGER)).outlook()}

    scarce = outlook["scarce"]
    assert scarce.recorded_refused > 0
    assert scarce.peak > scarce.recorded_peak
    assert scarce.refused == 0 or scarce.peak == scarce.total
