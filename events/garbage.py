"""Garbage collection, held off where much is made that has no cycles, and lives long."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Generator

_THRESHOLDS = (10_000, 50, 250)
"""Containers made and not freed, then how many collections of a generation for one of the next."""


@contextlib.contextmanager
def collecting_later() -> Generator[None]:
    """Hold garbage collection off."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def collect_rarely() -> None:
    """Leave what there is alone for good, and look at what comes seldom (ADR 121).

    A state grows by containers that live for minutes. By Python's own thresholds each 700 of them
    are looked at, and all of them again and again, while nobody is answered.
    """
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
