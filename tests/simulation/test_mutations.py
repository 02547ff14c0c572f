"""The simulator finds each of the mistakes in `mutations`: a test of the tests."""

from __future__ import annotations

import re

import pytest

from simulation.collector_mutations import ALL
from simulation.mutations import Mutation

SEEDS_MAX = 500
_BLUNDER = re.compile(r"died of (TypeError|AttributeError|NameError|ValueError)")


@pytest.mark.parametrize("mutation", ALL, ids=lambda mutation: mutation.name)
def test_the_simulator_finds(mutation: Mutation) -> None:
    found = mutation.found(range(mutation.first, mutation.first + SEEDS_MAX))
    assert found is not None, f"{SEEDS_MAX} seeds did not find it"
    assert not _BLUNDER.search(found.wrong), "the mistake itself does not work any more"


def test_every_invariant_has_a_mistake_that_breaks_it() -> None:
    broken = {int(n) for m in ALL for n in re.findall(r"invariant (\d)", m.breaks)}
    assert broken == set(range(1, 10))
