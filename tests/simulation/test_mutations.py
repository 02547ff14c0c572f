"""The simulator finds each of the mistakes in `mutations`: a test of the tests."""

from __future__ import annotations

import re

import pytest

from simulation.mutations import ALL, Mutation
from simulation.run import run

SEEDS_MAX = 500


@pytest.mark.parametrize("mutation", ALL, ids=lambda mutation: mutation.name)
def test_the_simulator_finds(mutation: Mutation) -> None:
    with mutation.make():
        wrong = (run(seed, faults=mutation.faults).wrong for seed in range(SEEDS_MAX))
        assert any(wrong), f"{SEEDS_MAX} seeds did not find it"


def test_every_invariant_has_a_mistake_that_breaks_it() -> None:
    broken = {int(n) for m in ALL for n in re.findall(r"invariant (\d)", m.breaks)}
    assert broken == set(range(1, 10))
