"""Deciding changes of applications: what they no longer have a place for is let go."""

from __future__ import annotations

from collections.abc import Iterator

from ipledger.engine.commands import ApplyApplication, DeleteApplication
from ipledger.engine.refusals import Reason, Refusal
from ipledger.events.facts import Application
from ipledger.events.types import (
    AddressesReleased,
    AnyEvent,
    ApplicationCreated,
    ApplicationDeleted,
    ApplicationUpdated,
    ReleaseReason,
)
from ipledger.projections.fixed import MACHINES, ApplicationKey, exists, key_of
from ipledger.projections.state import State

KINDS = ("StatefulSet", *MACHINES)
"""The kinds that keep addresses."""


def apply_application(state: State, command: ApplyApplication) -> tuple[AnyEvent, ...] | Refusal:
    """An application is like this from here on; holds beyond its size are let go."""
    application = command.application
    if application.kind not in KINDS:
        message = f"kind: {application.kind!r} keeps no addresses"
        return Refusal(Reason.INVALID_FIELD, message, "kind", application.kind)
    if application.replicas < 0 or application.start < 0:
        field = "spec.replicas" if application.replicas < 0 else "spec.ordinals.start"
        value = str(min(application.replicas, application.start))
        return Refusal(Reason.INVALID_FIELD, f"{field}: {value!r} is negative", field, value)
    key = key_of(application)
    known = state.applications.get(key)
    if known is None:
        return (ApplicationCreated(application=application),)
    if known == application:
        return ()
    released = _let_go(state, key, application, ReleaseReason.SCALED_DOWN)
    return (ApplicationUpdated(application=application), *released)


def delete_application(state: State, command: DeleteApplication) -> tuple[AnyEvent, ...] | Refusal:
    """An application is gone, and all that was held for it is let go."""
    key = key_of(Application("", command.kind, command.namespace, command.name))
    if key not in state.applications:
        what = f"{command.kind} {command.namespace}/{command.name}"
        return Refusal(Reason.APPLICATION_UNKNOWN, f"no {what}", "name", command.name)
    deleted = ApplicationDeleted(kind=key.kind, namespace=key.namespace, name=key.name)
    return (deleted, *_let_go(state, key, None, ReleaseReason.APPLICATION_DELETED))


def _let_go(
    state: State, key: ApplicationKey, application: Application | None, reason: str
) -> Iterator[AnyEvent]:
    """Releases of what is held for places that are gone. What a pod uses, its DEL frees."""
    for held in state.allocations.of_application(key):
        place = held.place
        assert place is not None
        if held.is_held and not exists(place, application):
            yield AddressesReleased(allocation=held.id, sandbox="", reason=reason)
