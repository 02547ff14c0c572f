"""Deciding an ADD: which pools are candidates, which address each family gets, or why none."""

from __future__ import annotations

from collections.abc import Iterator

from ipledger.engine.commands import Allocate
from ipledger.engine.refusals import Reason, Refusal
from ipledger.events.addresses import format_ip
from ipledger.events.clock import format_time
from ipledger.events.facts import Address, Candidate, Route, Verdict
from ipledger.events.types import (
    AddressesAllocated,
    AllocationRebound,
    AllocationRefused,
    AnyEvent,
)
from ipledger.projections.allocations import Allocation
from ipledger.projections.fence import FENCE_MICROS
from ipledger.projections.pool import Pool
from ipledger.projections.state import State, refusal_key

_DEFAULT_DESTINATION = {4: "0.0.0.0/0", 6: "::/0"}


def allocate(state: State, command: Allocate, now: int) -> tuple[AnyEvent, ...] | Refusal:
    """An ADD: the same addresses again, the same ones in a new sandbox, new ones, or a refusal."""
    if not command.pod.uid:
        message = "pod.uid: '' says nothing of whose the addresses are"
        return Refusal(Reason.BAD_REQUEST, message, "pod.uid")
    attachment = (command.sandbox, command.interface)
    ended_at = state.ended.ended_at(attachment, now)
    if ended_at is not None:
        return _attachment_ended(command, ended_at)
    user = state.allocations.at(attachment)
    if user is not None and user.pod.uid != command.pod.uid:
        message = f"sandbox {command.sandbox} is already used by pod {user.pod} ({user.pod.uid})"
        return Refusal(Reason.SANDBOX_TAKEN, message, "sandbox", command.sandbox)
    held = state.allocations.of((command.pod.uid, command.interface))
    if held is not None:
        return _again(held, command)
    return _choose(state, command, now)


def refused(state: State, command: Allocate, refusal: Refusal) -> tuple[AnyEvent, ...]:
    """The event that records a refused ADD, unless the last one recorded was just like it."""
    key = refusal_key(refusal.reason, refusal.decision)
    if state.refusals.get((command.pod.uid, command.interface)) == key:
        return ()
    return (
        AllocationRefused(
            pod=command.pod,
            node=command.node,
            sandbox=command.sandbox,
            interface=command.interface,
            reason=refusal.reason,
            message=refusal.message,
            decision=refusal.decision,
            traceparent=command.traceparent,
        ),
    )


def _attachment_ended(command: Allocate, ended_at: int) -> Refusal:
    message = (
        f"sandbox {command.sandbox} interface {command.interface} was deleted at "
        f"{format_time(ended_at)}; an ADD for it is refused until "
        f"{format_time(ended_at + FENCE_MICROS)}"
    )
    return Refusal(Reason.ATTACHMENT_ENDED, message, "sandbox", command.sandbox)


def _again(held: Allocation, command: Allocate) -> tuple[AnyEvent, ...] | Refusal:
    if held.node != command.node:
        message = f"pod {held.pod} has its addresses on node {held.node}, not {command.node}"
        return Refusal(Reason.OTHER_NODE, message, "node", command.node)
    if held.sandbox == command.sandbox:
        return ()
    return (
        AllocationRebound(
            allocation=held.id, sandbox=command.sandbox, traceparent=command.traceparent
        ),
    )


def _choose(state: State, command: Allocate, now: int) -> tuple[AnyEvent, ...] | Refusal:
    selected = _selected(state, command)
    if isinstance(selected, Refusal):
        return selected
    decision: list[Candidate] = []
    addresses: list[Address] = []
    routes: dict[str, Route] = {}
    short: list[int] = []
    for ip_version, names in selected:
        chosen = _first_with_address(state, command, ip_version, names, decision)
        if chosen is None:
            short.append(ip_version)
            continue
        pool, address = chosen
        addresses.append(_address(pool, address))
        for route in _routes(pool, command.clean_gateway):
            routes[route.dst] = route
    if short:
        return _none_left(command, short, tuple(decision))
    return (
        AddressesAllocated(
            allocation=f"a{state.allocated_ever + 1}",
            pod=command.pod,
            node=command.node,
            sandbox=command.sandbox,
            interface=command.interface,
            network=command.network,
            addresses=tuple(addresses),
            routes=tuple(routes.values()),
            decision=tuple(decision),
            traceparent=command.traceparent,
            steps={"agent": command.asked, "engine": now} if command.asked else {"engine": now},
        ),
    )


def _selected(state: State, command: Allocate) -> list[tuple[int, tuple[str, ...]]] | Refusal:
    """Candidate pools by family. The first rule that names any pool wins alone."""
    named = ((4, command.default_ipv4_pools), (6, command.default_ipv6_pools))
    for ip_version, names in named:
        refusal = _bad_names(state, ip_version, names)
        if refusal is not None:
            return refusal
    for rule in (named, tuple(state.defaults.items())):
        selected = [(ip_version, names) for ip_version, names in rule if names]
        if selected:
            return selected
    message = (
        f"no pool for {command.pod} interface {command.interface}: the CNI configuration names "
        "none, and no pool is a default (spec.default: true)"
    )
    return Refusal(Reason.NO_POOL_SELECTED, message)


def _bad_names(state: State, ip_version: int, names: tuple[str, ...]) -> Refusal | None:
    field = f"default_ipv{ip_version}_ippool"
    for index, name in enumerate(names):
        if name not in state.pools:
            message = f"{field} names pool {name!r}, which does not exist"
            return Refusal(Reason.POOL_UNKNOWN, message, field, name)
        if name in names[:index]:
            message = f"{field} names pool {name!r} twice"
            return Refusal(Reason.BAD_REQUEST, message, field, name)
    return None


def _first_with_address(
    state: State,
    command: Allocate,
    ip_version: int,
    names: tuple[str, ...],
    decision: list[Candidate],
) -> tuple[Pool, int] | None:
    """The first pool that may serve and has an address; each pool's verdict goes to `decision`."""
    identity = (command.pod.uid, command.interface)
    chosen: tuple[Pool, int] | None = None
    for name in names:
        pool = state.pools[name]
        if chosen is not None:
            decision.append(Candidate(name, ip_version, Verdict.NOT_REACHED))
        elif (passed_over := _passed_over(pool, ip_version)) is not None:
            decision.append(passed_over)
        elif (address := pool.choose(identity)) is None:
            detail = f"{len(pool.taken)} of {pool.total} addresses in use"
            decision.append(Candidate(name, ip_version, Verdict.EXHAUSTED, detail))
        else:
            decision.append(Candidate(name, ip_version, Verdict.CHOSEN))
            chosen = pool, address
    return chosen


def _passed_over(pool: Pool, ip_version: int) -> Candidate | None:
    """The verdict on a pool that may not serve this request, None on one that may."""
    spec = pool.spec
    if spec.ip_version != ip_version:
        detail = f"it is an IPv{spec.ip_version} pool"
        return Candidate(spec.name, ip_version, Verdict.WRONG_IP_VERSION, detail)
    if spec.disable:
        return Candidate(spec.name, ip_version, Verdict.DISABLED, "spec.disable is true")
    return None


def _address(pool: Pool, address: int) -> Address:
    spec = pool.spec
    text = f"{format_ip(spec.ip_version, address)}/{pool.prefix_length}"
    return Address(spec.name, text, spec.gateway)


def _routes(pool: Pool, clean_gateway: bool) -> Iterator[Route]:
    yield from pool.spec.routes
    if pool.spec.gateway and not clean_gateway:
        yield Route(_DEFAULT_DESTINATION[pool.spec.ip_version], pool.spec.gateway)


def _none_left(command: Allocate, short: list[int], decision: tuple[Candidate, ...]) -> Refusal:
    passed_over = [c for c in decision if c.ip_version in short]
    exhausted = any(c.verdict == Verdict.EXHAUSTED for c in passed_over)
    families = " and ".join(f"IPv{ip_version}" for ip_version in short)
    pools = "; ".join(describe(c) for c in passed_over)
    return Refusal(
        Reason.POOL_EXHAUSTED if exhausted else Reason.NO_POOL_FITS,
        f"no {families} address for {command.pod} interface {command.interface}: {pools}",
        decision=decision,
    )


def describe(candidate: Candidate) -> str:
    """A pool's verdict as a phrase: `pool a is exhausted (4 of 4 addresses in use)`."""
    detail = f" ({candidate.detail})" if candidate.detail else ""
    return f"pool {candidate.pool} is {candidate.verdict}{detail}"
