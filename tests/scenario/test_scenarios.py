"""The scenarios of the tables beside this file, each played at a real commit loop."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.scenario import Scenario, play, read_table

TABLES = sorted(Path(__file__).parent.glob("*.txt"))
SCENARIOS = [
    pytest.param(scenario, id=f"{table.stem}: {scenario.title}")
    for table in TABLES
    for scenario in read_table(table)
]


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_scenario(scenario: Scenario) -> None:
    await play(scenario)
