"""What commands would do, decided one after another and carried out nowhere."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import msgspec

from ipledger.engine.answers import Change, Forecast
from ipledger.engine.commands import AnyChange
from ipledger.engine.decide import decide
from ipledger.engine.outcomes import OUTCOMES
from ipledger.events.facts import Fact, PoolSpec
from ipledger.events.types import (
    AddressesReleased,
    AnyEvent,
    ApplicationCreated,
    ApplicationUpdated,
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
from ipledger.projections.applications import key_of
from ipledger.projections.pool import Pool
from ipledger.projections.state import State


def check(state: State, commands: Iterable[AnyChange]) -> tuple[Forecast, ...]:
    """What each command would do if it and those before it were carried out now.

    The draft is the state with resources of its own; all else is shared and read.
    """
    draft = state.draft()
    return tuple(_forecast(draft, command) for command in commands)


def _forecast(draft: State, command: AnyChange) -> Forecast:
    events, refusal = decide(draft, command, now=0)  # no rule of a resource asks for the time
    if refusal is not None:
        return Forecast(refusal=refusal)
    if not events:
        return Forecast(OUTCOMES[type(None)])
    changes, *_ = [_draw(draft, event) for event in events]  # the first is what was asked for
    return Forecast(OUTCOMES[type(events[0])], changes)


def _draw(draft: State, event: AnyEvent) -> tuple[Change, ...]:
    """Put the resource into the draft, and tell how it differs from the one that it replaces."""
    match event:
        case PoolCreated() | PoolUpdated():
            before = draft.pools.get(event.pool.name)
            _put(draft, event.pool, before)
            return _changes(before.spec, event.pool) if before else ()
        case PoolTerminating():
            pool = draft.pools[event.name] = copy.copy(draft.pools[event.name])
            pool.terminating = True
            draft.directory.terminate(pool.spec)
            return ()
        case PoolDeleted():
            draft.directory.leave(draft.pools.pop(event.name).spec)
            return ()
        case AddressesReleased():
            return ()
        case SubnetDeleted():
            del draft.subnets[event.name]
            return ()
        case ReservationDeleted():
            del draft.reservations[event.name]
            return ()
        case ReservationCreated() | ReservationUpdated():
            name = event.reservation.name
            old = draft.reservations.get(name)
            draft.reservations[name] = event.reservation
            return _changes(old, event.reservation) if old else ()
        case SubnetCreated() | SubnetUpdated():
            parent = draft.subnets.get(event.subnet.name)
            draft.subnets[event.subnet.name] = event.subnet
            return _changes(parent, event.subnet) if parent else ()
        case ApplicationCreated() | ApplicationUpdated():
            key = key_of(event.application)
            known = draft.applications.get(key)
            draft.applications[key] = event.application
            return _changes(known, event.application) if known else ()
        case _:
            raise AssertionError(f"a change of a resource made an {type(event).__name__}")


def _put(draft: State, spec: PoolSpec, before: Pool | None) -> None:
    reserved = draft.reserved[spec.ip_version]
    draft.pools[spec.name] = before.drafted(spec, reserved) if before else Pool(spec, reserved)
    draft.directory.enter(spec, before.spec if before else None)


def _changes(before: Fact, after: Fact) -> tuple[Change, ...]:
    return tuple(
        Change(f"spec.{field.encode_name}", _plain(old), _plain(new))
        for field in msgspec.structs.fields(after)
        if (old := getattr(before, field.name)) != (new := getattr(after, field.name))
    )


def _plain(value: object) -> Any:
    return msgspec.to_builtins(value)
