"""Each event in a few words, for a line of `ipledger log`."""

from __future__ import annotations

from ipledger.events.types import (
    AddressesAllocated,
    AddressesReleased,
    AllocationRebound,
    AllocationRefused,
    AnyEvent,
    AttachmentDeleted,
    LeadershipTaken,
    PoolCreated,
    PoolDeleted,
    PoolUpdated,
)


def summary(event: AnyEvent) -> str:
    """What happened, to whom."""
    match event:
        case LeadershipTaken():
            return f"{event.engine} epoch {event.epoch}"
        case PoolCreated() | PoolUpdated():
            return f"{event.pool.name} {event.pool.subnet} {','.join(event.pool.ips)}"
        case PoolDeleted():
            return event.name
        case AddressesAllocated():
            addresses = ",".join(held.address for held in event.addresses)
            return f"{event.allocation} {addresses} {event.pod} {event.interface} on {event.node}"
        case AllocationRebound():
            return f"{event.allocation} to sandbox {event.sandbox}"
        case AddressesReleased():
            return " ".join([event.allocation, event.reason, event.evidence]).rstrip()
        case AttachmentDeleted():
            return f"sandbox {event.sandbox} {event.interface} on {event.node}"
        case AllocationRefused():
            return f"{event.pod} {event.interface} {event.reason}: {event.message}"
