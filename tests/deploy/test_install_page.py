"""The commands of docs/how-to/install.md; tests/e2e/chart runs them on a real cluster."""

from __future__ import annotations

from support.cluster.installation import PAGE, STEPS
from support.document import blocks


def test_every_command_of_the_page_is_a_step_that_somebody_runs() -> None:
    found = {(heading, n) for heading, those in blocks(PAGE).items() for n in range(len(those))}
    assert set(STEPS.values()) == found
