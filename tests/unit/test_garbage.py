"""What lives long is not looked at for garbage again and again; cycles are found all the same."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Generator

import pytest

from ipledger.events.garbage import collect_rarely


@pytest.fixture
def rarely() -> Generator[None]:
    thresholds = gc.get_threshold()
    collect_rarely()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


class _Node:
    """One that can be watched."""


@pytest.mark.usefixtures("rarely")
def test_a_million_containers_that_stay_are_not_all_looked_at_again() -> None:
    full = gc.get_stats()[2]["collections"]

    kept = [(number, (str(number), "eth0")) for number in range(1_000_000)]

    assert len(kept) == 1_000_000
    assert gc.get_stats()[2]["collections"] == full


@pytest.mark.usefixtures("rarely")
def test_a_cycle_is_still_found() -> None:
    node = _Node()
    node.__dict__["me"] = node
    found = weakref.ref(node)
    del node

    kept = [[number] for number in range(200_000)]

    assert len(kept) == 200_000
    assert found() is None
