"""The simulator finds each of the mistakes in `mutations`: a test of the tests."""

from __future__ import annotations

import re

import pytest

from simulation import collector_mutations, mutations
from simulation.mutations import Mutation
from simulation.run import run

SEEDS_MAX = 500
ALL = mutations.ALL
assert collector_mutations, "it puts its mistakes on the list"


@pytest.mark.parametrize("mutation", ALL, ids=lambda mutation: mutation.name)
def test_the_simulator_finds(mutation: Mutation) -> None:
    with mutation.make():
        seeds = range(mutation.first, mutation.first + SEEDS_MAX)
        wrong = (run(seed, faults=mutation.faults).wrong for seed in seeds)
        assert any(wrong), f"{SEEDS_MAX} seeds did not find it"


def test_every_invariant_has_a_mistake_that_breaks_it() -> None:
    broken = {int(n) for m in ALL for n in re.findall(r"invariant (\d)", m.breaks)}
    assert broken == set(range(1, 10))
