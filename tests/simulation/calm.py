"""A net on which nothing goes wrong, on whatever loop runs: for the contracts of the ports."""

from __future__ import annotations

import asyncio
from typing import cast

from simulation.loop import SimulatedLoop
from simulation.net import Net
from simulation.world import World


def calm_net() -> Net:
    """A new net in real time."""
    return Net(World(0, cast("SimulatedLoop", asyncio.get_running_loop()), None))
