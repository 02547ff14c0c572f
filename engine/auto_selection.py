"""The candidates of an ADD that asks for auto pools: made or made larger here where needed.

The controller tells of applications, and their pools follow; an ADD that comes before it, or of a
kind that it does not know, brings what is needed itself: the owner and how many pods it wants.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ipledger.engine.auto_pools import (
    STAYING,
    Wish,
    addresses_of,
    created,
    ended,
    grown,
    is_of,
    subnet_named,
    updated,
    wishes,
)
from ipledger.engine.commands import Allocate
from ipledger.engine.pod_annotations import wrong
from ipledger.engine.refusals import Reason, Refusal
from ipledger.engine.subnet_annotations import IP_NUMBER, KEYS, Demand, demand
from ipledger.events.facts import Application, Owner, SubnetSpec
from ipledger.events.types import AnyEvent, ApplicationCreated
from ipledger.projections.allocations import Allocation
from ipledger.projections.applications import MACHINES, ApplicationKey, key_of_owner
from ipledger.projections.pool import Pool
from ipledger.projections.state import State

_BARE = "Pod"
_COUNTED = (
    *(("apps", kind) for kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet")),
    ("batch", "Job"),
    ("batch", "CronJob"),
    ("kubevirt.io", MACHINES[0]),
)
"""The kinds of which it is known how many pods they want."""


class AutoCandidates(NamedTuple):
    """The auto pool of each family, and the events without which they are not (so large).

    `drafts` are the pools as those events make them.
    """

    pools: dict[int, str]
    subnets: dict[int, str]
    events: tuple[AnyEvent, ...]
    drafts: Mapping[str, Pool]


def auto_candidates(
    state: State, command: Allocate, kept: Allocation | None
) -> AutoCandidates | Refusal | None:
    """The candidates, None where the pod's annotations ask for no auto pool.

    `kept` is the allocation of the pod's place: it is released where its pool comes to its end.
    """
    asked = demand(command.annotations)
    if asked is None or isinstance(asked, Refusal):
        return asked
    owner = command.owner
    if not command.auto_pools:
        message = f"annotation {asked.key}: auto pools are disabled"
        return Refusal(Reason.AUTO_POOLS_DISABLED, message, asked.key)
    if owner is None or owner.kind == _BARE:
        message = f"annotation {asked.key}: pod {command.pod} has no controller to have a pool"
        return Refusal(Reason.NO_CONTROLLER, message, asked.key)
    if asked.of(command.interface) is None:
        what = f"does not name interface {command.interface}"
        return wrong(asked.key, command.annotations[asked.key], what)
    return _candidates(state, command, owner, asked, kept)


def _candidates(
    state: State, command: Allocate, owner: Owner, asked: Demand, kept: Allocation | None
) -> AutoCandidates | Refusal:
    key = key_of_owner(owner, command.pod.namespace)
    replicas = _replicas(state, command, key, asked)
    if isinstance(replicas, Refusal):
        return replicas
    events: list[AnyEvent] = []
    if key not in state.applications:
        events.append(ApplicationCreated(application=_application(command, owner, key)))
    pools, drafts = dict[int, str](), dict[str, Pool]()
    found = list(wishes(asked, command.interface, command.pod.namespace, owner, replicas))
    for wish in found:
        draft = _draft(state, wish, asked.key, events, kept)
        if isinstance(draft, Refusal):
            return draft
        pools[wish.ip_version] = draft.spec.name
        drafts[draft.spec.name] = draft
    subnets = {wish.ip_version: wish.auto.subnet for wish in found}
    return AutoCandidates(pools, subnets, tuple(events), drafts)


def size_fault(key: ApplicationKey, asked: Demand) -> Refusal | None:
    """What is wrong with a number that follows an application of which nobody knows the size."""
    if asked.number.fixed is not None or (key.group, key.kind) in _COUNTED:
        return None
    what = f"must be a fixed number such as 5: how many pods a {key.kind} wants is not known"
    return wrong(IP_NUMBER, asked.number_text, what)


def _replicas(state: State, command: Allocate, key: ApplicationKey, asked: Demand) -> int | Refusal:
    """How many pods the application wants: what the log knows, or this ADD if it knows of more."""
    known = state.applications.get(key)
    told = [known.replicas] if known else []
    told += [] if command.replicas is None else [command.replicas]
    if asked.number.fixed is not None:
        return max(told, default=0)
    unsized = size_fault(key, asked)
    if unsized is not None:
        return unsized
    if not told:
        message = f"nobody told how many replicas {key} has, so that its pool has no size"
        return Refusal(Reason.REPLICAS_UNKNOWN, message, "owner", str(key))
    return max(told)


def _application(command: Allocate, owner: Owner, key: ApplicationKey) -> Application:
    annotations = {name: text for name, text in command.annotations.items() if name in KEYS}
    return Application(
        owner.api_version,
        key.kind,
        key.namespace,
        key.name,
        owner.uid,
        replicas=command.replicas or 0,
        annotations=annotations,
    )


def _draft(
    state: State, wish: Wish, field: str, events: list[AnyEvent], kept: Allocation | None
) -> Pool | Refusal:
    """The pool as it is wanted; what makes it so goes to `events`."""
    subnet = subnet_named(state, wish, field)
    if isinstance(subnet, Refusal):
        return subnet
    name = state.directory.auto.get(wish.key)
    pool = state.pools[name] if name else None
    if pool is None or not is_of(pool, subnet):
        made = created(state, wish, subnet)
        if isinstance(made, Refusal):
            return made
        leaving = addresses_of(kept) if kept else STAYING
        events += (*(ended(state, pool.spec.name, leaving) if pool else ()), made)
        return Pool(made.pool, state.reserved[wish.ip_version])
    return _enlarged(state, pool, wish, subnet, events)


def _enlarged(
    state: State, pool: Pool, wish: Wish, subnet: SubnetSpec, events: list[AnyEvent]
) -> Pool | Refusal:
    """A pool that is too small grows; where its subnet is used up it serves while it can.

    What its application says of it is for the controller to tell; a pool that was kept after
    its application is taken over by the next one here.
    """
    auto = wish.auto if wish.key.application not in state.applications else pool.spec.auto
    assert auto is not None
    if wish.size <= pool.total and auto == pool.spec.auto:
        return pool
    spec = grown(state, pool, wish._replace(auto=auto), subnet)
    if isinstance(spec, Refusal):
        return pool if pool.free else spec
    events += updated(pool, spec)
    return pool.drafted(spec, state.reserved[wish.ip_version])
