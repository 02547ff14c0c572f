"""Deciding changes of reservations (Spiderpool: validating webhook of SpiderReservedIP).

A reservation may overlap pools and other reservations, and may name addresses that are held: it
evicts nobody, and only keeps them from being given out from then on.
"""

from __future__ import annotations

import msgspec

from ipledger.engine.commands import ApplyReservation, DeleteReservation
from ipledger.engine.pool_checks import name_fault, range_hint
from ipledger.engine.refusals import Reason, Refusal, invalid
from ipledger.events.addresses import BITS, parse_ip
from ipledger.events.facts import ReservationSpec
from ipledger.events.types import (
    AnyEvent,
    ReservationCreated,
    ReservationDeleted,
    ReservationUpdated,
)
from ipledger.projections.ranges import parse_range
from ipledger.projections.state import State


def apply_reservation(state: State, command: ApplyReservation) -> tuple[AnyEvent, ...] | Refusal:
    """Create a reservation, change it, or find that it is so already."""
    spec = _checked(command.reservation)
    if isinstance(spec, Refusal):
        return spec
    existing = state.reservations.get(spec.name)
    if existing is None:
        return (ReservationCreated(reservation=spec),)
    if existing == spec:
        return ()
    if existing.ip_version != spec.ip_version:
        field, now = "spec.ipVersion", spec.ip_version
        message = f"{field}: cannot change from {existing.ip_version} to {now}"
        return Refusal(Reason.FIELD_IMMUTABLE, message, field, str(now))
    return (ReservationUpdated(reservation=spec),)


def delete_reservation(state: State, command: DeleteReservation) -> tuple[AnyEvent, ...] | Refusal:
    """Delete a reservation that exists."""
    if command.name not in state.reservations:
        message = f"no reservation {command.name!r}"
        return Refusal(Reason.RESERVATION_UNKNOWN, message, "name", command.name)
    return (ReservationDeleted(name=command.name),)


def _checked(spec: ReservationSpec) -> ReservationSpec | Refusal:
    """The specification with its IP version filled in, or what is wrong with it."""
    misnamed = name_fault(spec.name)
    if misnamed is not None:
        return misnamed
    ip_version = spec.ip_version or _version_of_first(spec)
    if ip_version not in (0, *BITS):
        return invalid("spec.ipVersion", spec.ip_version, "is not 4 or 6")
    if not ip_version:
        return invalid("spec.ips", [], "is empty, and there is no spec.ipVersion either")
    for index, text in enumerate(spec.ips):
        try:
            parse_range(text, ip_version)
        except ValueError:
            what = range_hint(text, ip_version, _version_told_by(spec))
            return invalid(f"spec.ips[{index}]", text, what)
    return msgspec.structs.replace(spec, ip_version=ip_version)


def _version_of_first(spec: ReservationSpec) -> int:
    """4 or 6, or 0 where there are no addresses; what is no address will be found wrong as IPv4."""
    if not spec.ips:
        return 0
    try:
        return parse_ip(spec.ips[0].partition("-")[0])[0]
    except ValueError:
        return 4


def _version_told_by(spec: ReservationSpec) -> str:
    return "spec.ipVersion" if spec.ip_version else "spec.ips[0]"
