"""Deciding auto pools that another system made: they are taken over with their addresses (ADR 98).

What the application asks for now must be what the pool is; its end and its number are the
application's from here on. A pool that was kept for an application that is gone comes alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ipledger.engine.applications import as_known, fault_of
from ipledger.engine.auto_pools import Wish, subnet_named, updated, wishes
from ipledger.engine.auto_selection import size_fault
from ipledger.engine.commands import ImportAutoPool
from ipledger.engine.pools import conflict
from ipledger.engine.refusals import Reason, Refusal, invalid
from ipledger.engine.subnet_annotations import demand, ip_number
from ipledger.engine.subnets import completed
from ipledger.events.facts import Application, AutoPool, PoolSpec
from ipledger.events.types import AnyEvent, ApplicationCreated, PoolCreated
from ipledger.projections.applications import key_of, key_of_owner
from ipledger.projections.directory import auto_key
from ipledger.projections.pool import Pool
from ipledger.projections.ranges import minus, size, texts_of, usable
from ipledger.projections.state import State

_BARE = ("", "Pod")


def import_auto_pool(state: State, command: ImportAutoPool) -> tuple[AnyEvent, ...] | Refusal:
    """Take an auto pool over, find that it was already, or refuse what contradicts the rest."""
    auto = command.pool.auto
    if auto is None:
        return Refusal(Reason.BAD_REQUEST, "pool.auto: it says not whose the pool is", "pool.auto")
    refusal = next(_malformed(command, auto), None)
    spec = refusal or completed(state, command.pool)
    if isinstance(spec, Refusal):
        return spec
    existing = state.pools.get(spec.name)
    if existing is not None:
        return _found(existing, spec)
    told = command.application
    if told is None:
        wish = Wish(auto, spec.ip_version, size(usable(spec)))
    else:
        asked = _wish(spec, auto, told)
        if isinstance(asked, Refusal):
            return asked
        wish = asked
    spec = msgspec.structs.replace(spec, auto=wish.auto)
    refusal = _faults(state, spec, wish)
    if refusal is not None:
        return refusal
    is_new = told is not None and wish.key.application not in state.applications
    application = (ApplicationCreated(application=as_known(told)),) if told and is_new else ()
    return (*application, PoolCreated(pool=spec))


def _malformed(command: ImportAutoPool, auto: AutoPool) -> Iterator[Refusal]:
    """What is wrong with the command whatever the state is."""
    told, key = command.application, key_of_owner(auto.owner, auto.namespace)
    if auto.owner.kind in _BARE or not auto.owner.name:
        yield invalid("pool.auto.owner.kind", auto.owner.kind, "is no controller of pods")
    if not auto.interface:
        yield invalid("pool.auto.interface", auto.interface, "is not an interface")
    number = ip_number(auto.number)
    if isinstance(number, Refusal):
        yield number
    if command.pool.pod_affinity is not None:
        message = f"spec.podAffinity: {{}}: an auto pool serves {key} alone"
        yield Refusal(Reason.AUTO_POOL, message, "spec.podAffinity", "{}")
    if told is None and auto.reclaim:
        message = f"application: nobody told of {key}, with which the pool goes"
        yield Refusal(Reason.APPLICATION_UNKNOWN, message, "application")
    if told is not None:
        if key_of(told) != key:
            message = f"application: {key_of(told)} is not {key}, whose the pool is"
            yield Refusal(Reason.BAD_REQUEST, message, "application", str(key_of(told)))
        fault = fault_of(told)
        if fault is not None:
            yield fault


def _found(pool: Pool, spec: PoolSpec) -> tuple[AnyEvent, ...] | Refusal:
    """The pool is there. Its application may have changed it since; it may be opened or closed."""
    name, has = spec.name, pool.spec
    if pool.terminating:
        return Refusal(Reason.POOL_TERMINATING, f"pool {name!r} is terminating", "name", name)
    if has.subnet != spec.subnet or auto_key(has) != auto_key(spec):
        message = f"metadata.name: {name!r} is the name of another pool already"
        return Refusal(Reason.AUTO_POOL, message, "metadata.name", name)
    missing = texts_of(minus(usable(spec), pool.usable), spec.ip_version)
    if missing:
        message = f"spec.ips: pool {name!r} was taken over, and has {missing[0]} no more"
        return Refusal(Reason.AUTO_POOL, message, "spec.ips", missing[0])
    return updated(pool, msgspec.structs.replace(has, disable=spec.disable))


def _wish(spec: PoolSpec, auto: AutoPool, told: Application) -> Wish | Refusal:
    """The pool as its application asks for it, if that is this one."""
    asked = demand(told.annotations)
    if isinstance(asked, Refusal):
        return asked
    unsized = size_fault(key_of(told), asked) if asked else None
    if unsized is not None:
        return unsized
    found: Iterator[Wish] = iter(())
    if asked is not None and asked.of(auto.interface) is not None:
        found = wishes(asked, auto.interface, auto.namespace, auto.owner, told.replicas)
    wish = next((w for w in found if w.ip_version == spec.ip_version), None)
    if asked is None or wish is None or wish.auto.subnet != auto.subnet:
        family = f"IPv{spec.ip_version} of {auto.interface}"
        instead = f"subnet {wish.auto.subnet!r}" if wish else "no subnet"
        message = f"pool.auto.subnet: {auto.subnet!r}, but {key_of(told)} asks for {instead}"
        return Refusal(Reason.AUTO_POOL, f"{message} for {family}", "pool.auto.subnet", auto.subnet)
    total = size(usable(spec))
    sizes = (wish.size,) if asked.number_text else (told.replicas, wish.size)
    if total not in sizes:
        wanted = " or ".join(str(number) for number in sizes)
        message = f"spec.ips: {total} addresses, but {key_of(told)} asks for {wanted}"
        return Refusal(Reason.AUTO_POOL, message, "spec.ips", ",".join(spec.ips))
    owner = msgspec.structs.replace(auto.owner, api_version=told.api_version, uid=told.uid)
    return wish._replace(auto=msgspec.structs.replace(wish.auto, owner=owner))


def _faults(state: State, spec: PoolSpec, wish: Wish) -> Refusal | None:
    """What a new auto pool may not be beside what there is."""
    subnet = subnet_named(state, wish, "ipam.spidernet.io/subnet")
    if isinstance(subnet, Refusal):
        return subnet
    if subnet.subnet != spec.subnet:
        message = f"spec.subnet: {spec.subnet!r} is not that of subnet {subnet.name!r}"
        return Refusal(Reason.OUTSIDE_SUBNET, message, "spec.subnet", spec.subnet)
    other = state.directory.auto.get(wish.key)
    if other is not None:
        family = f"IPv{wish.ip_version} of {wish.auto.interface}"
        message = f"{wish.key.application} has pool {other!r} for {family} already"
        return Refusal(Reason.AUTO_POOL, message, "metadata.name", spec.name)
    return conflict(state, spec)
