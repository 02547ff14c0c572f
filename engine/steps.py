"""The times of the steps before a decision, as the event tells them (DESIGN section 5)."""

from __future__ import annotations

from ipledger.engine.commands import Allocate, Release, RetainAttachments


def steps_of(command: Allocate | Release | RetainAttachments, now: int) -> dict[str, int]:
    """Each step's time in microseconds since the Unix epoch; one that nobody knows is left out."""
    node, received = command.steps, command.received
    if not node.agent:
        return {"received": received, "engine": now} if received else {"engine": now}
    steps = {
        "shim": node.shim,
        "agent": node.agent,
        "sent": node.sent,
        "received": received,
        "engine": now,
    }
    if not (node.shim and node.sent and received):
        return {name: at for name, at in steps.items() if at}
    return steps
