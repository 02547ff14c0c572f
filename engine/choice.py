"""Choosing an address of each family from the candidates, with a verdict on each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ipledger.engine import pod_annotations
from ipledger.engine.commands import Allocate
from ipledger.engine.filters import passed_over
from ipledger.engine.refusals import Reason, Refusal, describe
from ipledger.engine.selection import Selected
from ipledger.events.addresses import format_ip
from ipledger.events.facts import Address, Candidate, Verdict
from ipledger.events.quoting import QUOTE_MAX, cut
from ipledger.projections.allocations import Allocation, Identity
from ipledger.projections.pool import Pool
from ipledger.projections.state import State


class Choice(NamedTuple):
    """An address from each of these pools, in the same order."""

    pools: tuple[Pool, ...]
    addresses: tuple[Address, ...]
    decision: tuple[Candidate, ...]


def choose(state: State, command: Allocate, selected: Selected) -> Choice | Refusal:
    """An address of every family asked for, all or none."""
    asked = _asked(command)
    if isinstance(asked, Refusal):
        return asked
    decision: list[Candidate] = []
    chosen: list[tuple[Pool, int]] = []
    short: list[int] = []
    for ip_version, names in selected.pools:
        candidates = [selected.drafts.get(name) or state.pools[name] for name in names]
        static = asked.pop(ip_version, None)
        found = _first(state, candidates, command, (ip_version, static), decision)
        if isinstance(found, Refusal):
            return found
        if found is None:
            short.append(ip_version)
        else:
            chosen.append(found)
    if asked:
        return _not_a_family(command, asked)
    if short:
        return _none_left(command, selected, short, tuple(decision))
    pools = tuple([pool for pool, _ in chosen])
    return Choice(pools, tuple([_address(pool, value) for pool, value in chosen]), tuple(decision))


def still_candidates(state: State, command: Allocate, selected: Selected, held: Allocation) -> bool:
    """Whether the request would still be served with the addresses of an allocation."""
    serving = {
        name
        for ip_version, names in selected.pools
        for name in names
        if name in state.pools and passed_over(state.pools[name], ip_version, command) is None
    }
    families = {ip_version for ip_version, _ in selected.pools}
    if any((a.terms.ip_version, a.value) in state.quarantined for a in held.addresses):
        return False
    asked = _asked(command)
    if isinstance(asked, Refusal) or not asked.items() <= _by_version(held).items():
        return False
    return all(address.pool in serving for address in held.addresses) and families == {
        state.pools[address.pool].spec.ip_version for address in held.addresses
    }


def _asked(command: Allocate) -> dict[int, int] | Refusal:
    text = command.annotations.get(pod_annotations.STATIC_IP)
    return {} if text is None else pod_annotations.static_ips(text, command.interface)


def _by_version(held: Allocation) -> dict[int, int]:
    return {address.terms.ip_version: address.value for address in held.addresses}


def _first(
    state: State,
    pools: Sequence[Pool],
    command: Allocate,
    asked: tuple[int, int | None],
    decision: list[Candidate],
) -> tuple[Pool, int] | Refusal | None:
    """The first pool that may serve and has an address; each pool's verdict goes to `decision`.

    `asked` is the IP version, and the address that was asked for.
    """
    identity, (ip_version, static) = (command.pod.uid, command.interface), asked
    chosen: tuple[Pool, int] | None = None
    for pool in pools:
        name = pool.spec.name
        if chosen is not None:
            decision.append(Candidate(name, ip_version, Verdict.NOT_REACHED))
            continue
        offer = passed_over(pool, ip_version, command) or _offer(state, pool, identity, static)
        if isinstance(offer, Refusal):
            return offer
        if isinstance(offer, Candidate):
            decision.append(offer)
        else:
            decision.append(Candidate(name, ip_version, Verdict.CHOSEN))
            chosen = pool, offer
    return chosen


def _offer(
    state: State, pool: Pool, identity: Identity, static: int | None
) -> int | Candidate | Refusal:
    """The address that a pool gives, or the verdict on one that has none to give."""
    name, ip_version = pool.spec.name, pool.spec.ip_version
    if static is None:
        address = pool.choose(identity)
        if address is not None:
            return address
        reserved = f", {pool.reserved_free} reserved" if pool.reserved_free else ""
        detail = f"{len(pool.taken)} of {pool.total} addresses in use{reserved}"
        return Candidate(name, ip_version, Verdict.EXHAUSTED, detail)
    if static in pool.taken:
        return _taken(state, pool, static)
    if pool.can_take(static):
        return static
    detail = f"{format_ip(ip_version, static)} is not an address it can give"
    return Candidate(name, ip_version, Verdict.NO_STATIC_IP, detail)


def _address(pool: Pool, address: int) -> Address:
    spec = pool.spec
    text = f"{format_ip(spec.ip_version, address)}/{pool.terms.prefix_length}"
    return Address(spec.name, text, spec.gateway)


def _taken(state: State, pool: Pool, address: int) -> Refusal:
    holder = state.allocations.numbered(pool.taken[address])
    text = format_ip(pool.spec.ip_version, address)
    message = (
        f"annotation {pod_annotations.STATIC_IP}: {text} is held by pod {holder.pod} ({holder.id})"
    )
    return Refusal(Reason.ADDRESS_IN_USE, message, pod_annotations.STATIC_IP, text)


def _not_a_family(command: Allocate, asked: dict[int, int]) -> Refusal:
    text = command.annotations[pod_annotations.STATIC_IP]
    families = " and ".join(f"IPv{ip_version}" for ip_version in asked)
    what = f"asks for {families}, but no {families} pool is a candidate"
    return pod_annotations.wrong(pod_annotations.STATIC_IP, text, what)


def _none_left(
    command: Allocate, selected: Selected, short: list[int], decision: tuple[Candidate, ...]
) -> Refusal:
    candidates = [c for c in decision if c.ip_version in short]
    exhausted = any(c.verdict == Verdict.EXHAUSTED for c in candidates)
    families = " and ".join(f"IPv{ip_version}" for ip_version in short)
    unmatched = cut(f"no pool matches {selected.asked[short[0]]}", QUOTE_MAX)
    why = "; ".join(describe(c) for c in candidates) or unmatched
    return Refusal(
        Reason.POOL_EXHAUSTED if exhausted else Reason.NO_POOL_FITS,
        f"no {families} address for {command.pod} interface {command.interface}: {why}",
        decision=decision,
    )
