"""When a pool will be full: a straight line through the samples of a short while.

Pure, and modest: the recent rate goes on for ever, and seasons are ignored. What empties every
night is forecast in the morning as if the day had no end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

WINDOW_S = 3600.0
"""How far back a forecast looks, unless told otherwise."""
SAMPLES = 60
"""How many samples a window has."""
_SPAN_MIN = 1 / 12
"""A window of which less is known tells nothing: pods come in waves."""


class Sample(NamedTuple):
    """How many addresses of a pool were used at a time (microseconds, Unix)."""

    at: int
    used: int


class Exhaustion(msgspec.Struct, frozen=True, rename="camel"):
    """When `pool` is full if it goes on as in the last `window_seconds`.

    `growth_per_second` is in addresses. `full_in_seconds` is None for a pool that does not grow.
    """

    pool: str
    growth_per_second: float
    window_seconds: float
    full_in_seconds: float | None


class Usage:
    """The samples of the pools of a realm, and the rate at which each grew."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self.window_s = window_s
        self._samples: dict[str, deque[Sample]] = {}
        self._growth: dict[str, float | None] = {}

    @property
    def every_s(self) -> float:
        """How often to observe."""
        return self.window_s / SAMPLES

    def observe(self, at: int, used: Iterable[tuple[str, int]]) -> None:
        """How many addresses each pool uses at a time, later than the last. Others are gone."""
        before, self._samples = self._samples, {}
        for pool, count in used:
            samples = before.get(pool, deque())
            samples.append(Sample(at, count))
            while samples[0].at < at - self.window_s * 1e6:
                samples.popleft()
            self._samples[pool] = samples
        self._growth = {
            pool: growth(samples, self.window_s) for pool, samples in self._samples.items()
        }

    def of(self, pool: str, free: int) -> Exhaustion | None:
        """The forecast for a pool with `free` addresses now; None while too little is known."""
        rate = self._growth.get(pool)
        if rate is None:
            return None
        samples = self._samples[pool]
        return forecast(pool, rate, (samples[-1].at - samples[0].at) / 1e6, free)


def growth(samples: Sequence[Sample], window_s: float) -> float | None:
    """Addresses per second, by least squares; None if the samples tell of too short a while.

    >>> growth([Sample(0, 10), Sample(1_800_000_000, 40), Sample(3_600_000_000, 70)], 3600.0)
    0.016666666666666666
    """
    if len(samples) < 2 or samples[-1].at - samples[0].at < window_s * 1e6 * _SPAN_MIN:
        return None
    origin, count = samples[0].at, len(samples)
    times = [(sample.at - origin) / 1e6 for sample in samples]
    mean_at = sum(times) / count
    mean_used = sum(sample.used for sample in samples) / count
    covariance = sum(
        (at - mean_at) * (sample.used - mean_used)
        for at, sample in zip(times, samples, strict=True)
    )
    return covariance / sum((at - mean_at) ** 2 for at in times)


def forecast(pool: str, rate: float, window_s: float, free: int) -> Exhaustion:
    """When a pool with `free` addresses is full, if it grows by `rate` addresses a second."""
    full_in_s = 0.0 if free <= 0 else free / rate if rate > 0 else None
    return Exhaustion(pool, rate, window_s, full_in_s)
