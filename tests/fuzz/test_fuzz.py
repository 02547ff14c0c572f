"""Each edge takes anything: a few hundred inputs in every run (`make fuzz` gives it more)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from fuzz.mutation import UNCHECKED, inputs
from fuzz.target import Target
from fuzz.targets import TARGETS

EXAMPLES = 200


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_anything_is_served_or_refused(target: Target) -> None:
    with target.opened() as run:
        for seed in target.seeds():
            run(seed)
        fed = settings(max_examples=EXAMPLES, suppress_health_check=UNCHECKED)
        fed(given(inputs(target))(run))()


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_the_corpus_is_small(target: Target) -> None:
    """It is read in every run, and by people."""
    seeds = target.seeds()
    assert 0 < len(seeds) <= 20
    assert max(map(len, seeds)) <= 64 * 1024
