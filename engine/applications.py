"""Deciding changes of applications: what they have places for, and pools of their own.

What an application has no place for any more is let go, and its auto pools follow its size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from ipledger.engine import pod_annotations
from ipledger.engine.auto_pools import (
    Leaving,
    Wish,
    created,
    emptied,
    ended,
    grown,
    is_of,
    pools_for,
    shrunk,
    subnet_named,
    updated,
    wishes,
)
from ipledger.engine.commands import ApplyApplication, DeleteApplication
from ipledger.engine.refusals import Reason, Refusal
from ipledger.engine.subnet_annotations import KEYS, Demand, demand
from ipledger.events.facts import Application, Owner
from ipledger.events.types import (
    AddressesReleased,
    AnyEvent,
    ApplicationCreated,
    ApplicationDeleted,
    ApplicationUpdated,
    PoolCreated,
    PoolUpdated,
    ReleaseReason,
)
from ipledger.projections.allocations import Allocation
from ipledger.projections.applications import ApplicationKey, application_key, key_of
from ipledger.projections.fixed import exists
from ipledger.projections.pool import Pool
from ipledger.projections.ranges import Intervals, merged, usable
from ipledger.projections.state import State

_FIRST_INTERFACE = "eth0"
_BARE = "Pod"
_INT32_MAX = 2**31 - 1  # what Kubernetes has for both


def apply_application(state: State, command: ApplyApplication) -> tuple[AnyEvent, ...] | Refusal:
    """An application is like this from here on; holds beyond its size are let go."""
    asked = command.application
    refusal = fault_of(asked)
    if refusal is not None:
        return refusal
    application = as_known(asked)
    key = key_of(application)
    known = state.applications.get(key)
    released = _let_go(state, key, application, ReleaseReason.SCALED_DOWN)
    pools = _pools(state, key, application, _leaving(released))
    if isinstance(pools, Refusal):
        return pools
    if known == application and not pools:
        return ()
    told = ApplicationUpdated if known else ApplicationCreated
    return (told(application=application), *(event for event, _ in released), *pools)


def delete_application(state: State, command: DeleteApplication) -> tuple[AnyEvent, ...] | Refusal:
    """An application is gone, and all that was held for it is let go."""
    key = application_key(command.api_version, command.kind, command.namespace, command.name)
    known = state.applications.get(key)
    if known is None:
        return Refusal(Reason.APPLICATION_UNKNOWN, f"no {key}", "name", command.name)
    if command.uid and known.uid and command.uid != known.uid:
        message = f"{key} has the UID {known.uid}, not {command.uid}"
        return Refusal(Reason.APPLICATION_CHANGED, message, "uid", command.uid)
    released = _let_go(state, key, None, ReleaseReason.APPLICATION_DELETED)
    deleted = ApplicationDeleted(
        api_version=known.api_version, kind=known.kind, namespace=key.namespace, name=key.name
    )
    leaving = _leaving(released)
    ends = (*_ends(state, pools_for(state, key), leaving), *emptied(state, leaving))
    return (deleted, *(event for event, _ in released), *ends)


def fault_of(application: Application) -> Refusal | None:
    """What is wrong with an application by itself."""
    if application.kind == _BARE or not application.kind:
        message = f"kind: {application.kind!r} is no controller of pods"
        return Refusal(Reason.INVALID_FIELD, message, "kind", application.kind)
    if application.replicas < 0 or application.start < 0:
        field = "spec.replicas" if application.replicas < 0 else "spec.ordinals.start"
        value = str(min(application.replicas, application.start))
        return Refusal(Reason.INVALID_FIELD, f"{field}: {value!r} is negative", field, value)
    if max(application.replicas, application.start) > _INT32_MAX:
        field = "spec.ordinals.start" if application.start > _INT32_MAX else "spec.replicas"
        value = str(max(application.replicas, application.start))
        message = f"{field}: {value!r} is more than {_INT32_MAX}"
        return Refusal(Reason.INVALID_FIELD, message, field, value)
    return pod_annotations.fault(application.annotations)


def as_known(application: Application) -> Application:
    """The application as the state has it: of the annotations those that ask for auto pools."""
    has = application.annotations
    kept = {key: has[key] for key in KEYS if key in has}
    return msgspec.structs.replace(application, annotations=kept)


def _pools(
    state: State, key: ApplicationKey, application: Application, leaving: Leaving
) -> tuple[AnyEvent, ...] | Refusal:
    """What becomes of the application's auto pools: made, of another size, or at their end."""
    asked = demand(application.annotations)
    if isinstance(asked, Refusal):
        return asked
    events: list[AnyEvent] = []
    kept: set[str] = set()
    for wish in _wishes(state, key, application, asked) if asked else ():
        field, claimed = asked.key if asked else "", _claimed(events, wish.ip_version)
        found = _settled(state, wish, field, leaving, kept, claimed)
        if isinstance(found, Refusal):
            return found
        events += found
    unwanted = [name for name in pools_for(state, key) if name not in kept]
    return (*events, *_ends(state, unwanted, leaving), *emptied(state, leaving))


def _claimed(events: Iterable[AnyEvent], ip_version: int) -> Intervals:
    """The addresses of one family that pools get by these events."""
    changed = [e.pool for e in events if isinstance(e, PoolCreated | PoolUpdated)]
    return merged(part for s in changed if s.ip_version == ip_version for part in usable(s))


def _wishes(
    state: State, key: ApplicationKey, application: Application, asked: Demand
) -> Iterator[Wish]:
    """The pools that the annotations ask for. Where they name no interface, any may ask at its
    ADD: those that have are known by their pools."""
    owner = Owner(application.api_version, application.kind, application.name, application.uid)
    interfaces = dict.fromkeys(item.interface or _FIRST_INTERFACE for item in asked.items)
    if not asked.items[0].interface:
        interfaces |= dict.fromkeys(
            sorted(auto.interface for auto in state.directory.auto if auto.application == key)
        )
    for interface in interfaces:
        yield from wishes(asked, interface, application.namespace, owner, application.replicas)


def _settled(
    state: State,
    wish: Wish,
    field: str,
    leaving: Leaving,
    kept: set[str],
    claimed: Intervals,
) -> tuple[AnyEvent, ...] | Refusal:
    subnet = subnet_named(state, wish, field)
    if isinstance(subnet, Refusal):
        return subnet
    name = state.directory.auto.get(wish.key)
    pool = state.pools[name] if name else None
    if pool is not None:
        kept.add(pool.spec.name)
    if pool is None or not is_of(pool, subnet):
        made = created(state, wish, subnet, claimed)
        return made if isinstance(made, Refusal) else (*_replaced(state, pool, leaving), made)
    if wish.size > pool.total:
        spec = grown(state, pool, wish, subnet, claimed)
        return spec if isinstance(spec, Refusal) else updated(pool, spec)
    return updated(pool, shrunk(pool, wish.size, leaving, wish.auto))


def _replaced(state: State, pool: Pool | None, leaving: Leaving) -> tuple[AnyEvent, ...]:
    """The end of a pool in whose place another subnet's comes, whether it is reclaimed or not."""
    return () if pool is None else ended(state, pool.spec.name, leaving)


def _ends(state: State, names: Iterable[str], leaving: Leaving) -> Iterator[AnyEvent]:
    """The ends of auto pools that nobody asks for any more; those that are kept stay."""
    for name in names:
        auto = state.pools[name].spec.auto
        if auto is not None and auto.reclaim:
            yield from ended(state, name, leaving)


_Released = list[tuple[AddressesReleased, Allocation]]


def _let_go(
    state: State, key: ApplicationKey, application: Application | None, reason: str
) -> _Released:
    """Releases of what is held for places that are gone. What a pod uses, its DEL frees."""
    found: _Released = []
    for held in state.allocations.of_application(key):
        place = held.place
        assert place is not None
        if held.is_held and not exists(place, application):
            event = AddressesReleased(allocation=held.id, sandbox="", reason=reason)
            found.append((event, held))
    return found


def _leaving(released: _Released) -> Leaving:
    gone: dict[str, set[int]] = {}
    for _, held in released:
        for address in held.addresses:
            gone.setdefault(address.pool, set()).add(address.value)
    return gone
