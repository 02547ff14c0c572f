"""Says at the end of a test run how much was simulated."""

from __future__ import annotations

from collections import Counter

import pytest

from simulation.cli import summary

COUNTS = pytest.StashKey[Counter[str]]()


@pytest.fixture
def counts(pytestconfig: pytest.Config) -> Counter[str]:
    """What was simulated in this test run."""
    return pytestconfig.stash.setdefault(COUNTS, Counter())


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    counts = config.stash.setdefault(COUNTS, Counter())
    if counts:
        terminalreporter.write_line(summary(counts))
