"""Each event in a few words, for a line of `ipledger log`."""

from __future__ import annotations

from ipledger.events.types import (
    AddressesAllocated,
    AddressesHeld,
    AddressesReleased,
    AddressQuarantined,
    AddressRestored,
    AllocationImported,
    AllocationRebound,
    AllocationRefused,
    AnyEvent,
    ApplicationCreated,
    ApplicationDeleted,
    ApplicationUpdated,
    AttachmentDeleted,
    CheckpointSigned,
    LeadershipTaken,
    PoolCreated,
    PoolDeleted,
    PoolTerminating,
    PoolUpdated,
    ReservationCreated,
    ReservationDeleted,
    ReservationUpdated,
    SubnetCreated,
    SubnetDeleted,
    SubnetUpdated,
)


def summary(event: AnyEvent) -> str:
    """What happened, to whom."""
    match event:
        case LeadershipTaken():
            return f"{event.engine} epoch {event.epoch}"
        case PoolCreated() | PoolUpdated():
            return f"{event.pool.name} {event.pool.subnet} {','.join(event.pool.ips)}"
        case SubnetCreated() | SubnetUpdated():
            return f"{event.subnet.name} {event.subnet.subnet} {','.join(event.subnet.ips)}"
        case ReservationCreated() | ReservationUpdated():
            return f"{event.reservation.name} {','.join(event.reservation.ips)}"
        case PoolDeleted() | PoolTerminating() | SubnetDeleted() | ReservationDeleted():
            return event.name
        case ApplicationCreated() | ApplicationUpdated():
            workload = event.application
            where = f"{workload.kind} {workload.namespace}/{workload.name}"
            return f"{where} replicas {workload.replicas} from {workload.start}"
        case CheckpointSigned():
            return f"commit {event.sequence} by {event.key}"
        case ApplicationDeleted():
            return f"{event.kind} {event.namespace}/{event.name}"
        case _:
            return _of_addresses(event)


def _of_addresses(
    event: AddressesAllocated
    | AllocationImported
    | AllocationRebound
    | AddressesHeld
    | AddressesReleased
    | AttachmentDeleted
    | AllocationRefused
    | AddressQuarantined
    | AddressRestored,
) -> str:
    match event:
        case AddressesAllocated() | AllocationImported():
            addresses = ",".join(held.address for held in event.addresses)
            return f"{event.allocation} {addresses} {event.pod} {event.interface} on {event.node}"
        case AllocationRebound():
            pod = f" of {event.pod} on {event.node}" if event.pod else ""
            return f"{event.allocation} to sandbox {event.sandbox}{pod}"
        case AddressesHeld():
            return f"{event.allocation} sandbox {event.sandbox} is over"
        case AddressesReleased():
            return " ".join([event.allocation, event.reason, event.evidence]).rstrip()
        case AttachmentDeleted():
            return f"sandbox {event.sandbox} {event.interface} on {event.node}"
        case AllocationRefused():
            return f"{event.pod} {event.interface} {event.reason}: {event.message}"
        case AddressQuarantined():
            by = f" answered by {event.mac}" if event.mac else ""
            where = f" on {event.node} for {event.allocation}" if event.node else ""
            return f"{event.address}{by}{where} {event.evidence}".rstrip()
        case AddressRestored():
            return f"{event.address} {event.evidence}".rstrip()
