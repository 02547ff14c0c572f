"""Nothing acknowledged is ever lost, whatever goes wrong: some thousand simulated realms.

`make simulate` runs more of them; docs/simulator.md says how to run a failed one again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from simulation.cli import report, run_many
from simulation.run import run

SEEDS = 2000
BLOCK = 500
TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_every_seed_holds(first: int, counts: Counter[str]) -> None:
    wrong: list[str] = []
    for result in run_many(range(first, first + BLOCK), processes=2):
        counts.update(result.counts)
        if result.wrong:
            wrong.append(report(result))
    assert not wrong, f"{len(wrong)} seeds failed, the first is\n{wrong[0]}"


@pytest.mark.parametrize("seed", [7, 11])
def test_a_seed_is_the_same_run_to_the_byte_each_time(seed: int) -> None:
    first = run(seed)
    assert run(seed) == first
    assert {_hash_in_another_process(seed, hash_seed) for hash_seed in "12"} == {first.digest}


def _hash_in_another_process(seed: int, hash_seed: str) -> str:
    command = [sys.executable, "-m", "simulation", "--seed", str(seed)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "PYTHONHASHSEED": hash_seed}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return told.stdout.rpartition("hash ")[2].strip()


def test_two_seeds_are_two_runs() -> None:
    assert run(1).digest != run(2).digest
