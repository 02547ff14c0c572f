"""The times of the steps before a decision, as the event tells them (DESIGN section 5)."""

from __future__ import annotations

from ipledger.engine.commands import Allocate, Release, RetainAttachments


def steps_of(command: Allocate | Release | RetainAttachments, now: int) -> dict[str, int]:
    """Each step's time in microseconds since the Unix epoch; one that nobody knows is left out."""
    node = command.steps
    steps = {
        "shim": node.shim,
        "agent": node.agent,
        "sent": node.sent,
        "received": command.received,
        "engine": now,
    }
    return {name: at for name, at in steps.items() if at}
