"""The steps of a trace, where the clocks of node and engine differ, or something is not known."""

from __future__ import annotations

from ipledger.events.commit import Took
from ipledger.events.types import AddressesReleased
from ipledger.replay.trace import StepTaken, waterfall

NOON = 1_795_348_800_000_000
TOOK = Took(decided=20, stored=500)


def released(**steps: int) -> AddressesReleased:
    return AddressesReleased(allocation="a1", sandbox="s", reason="cni-del", steps=steps)


def test_the_steps_of_an_engine_whose_clock_is_behind_are_moved_behind_the_nodes() -> None:
    event = released(agent=NOON, sent=NOON + 100, received=NOON - 5000, engine=NOON - 4900)
    steps, shift = waterfall(event, NOON - 4900, TOOK)
    assert shift == 5100
    assert steps == (
        StepTaken("agent", "node", 0, 100),
        StepTaken("nats", "both", 100, 0),
        StepTaken("queue", "engine", 100, 100),
        StepTaken("decide", "engine", 200, 20),
        StepTaken("commit", "engine", 220, 480),
        StepTaken("answer", "engine", 700, None),
    )


def test_an_engine_whose_clock_is_ahead_makes_the_way_to_it_longer() -> None:
    event = released(agent=NOON, sent=NOON + 100, received=NOON + 9000)
    steps, shift = waterfall(event, NOON + 9001, TOOK)
    assert shift == 0
    assert steps[1] == StepTaken("nats", "both", 100, 8900)


def test_what_nobody_told_is_left_out() -> None:
    assert waterfall(released(), NOON, None) == ((StepTaken("decide", "engine", 0, None),), 0)
