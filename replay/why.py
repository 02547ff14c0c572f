"""Why a pod has its addresses, or none: each pool's verdict, decided again and compared.

The log has what was decided; the state before that event is folded anew, and the same rules are
asked again (invariant 9). They need the pod's labels where a pool selects by labels, and a log
does not hold those: such a verdict is shown as it was recorded, and said to be so.
"""

from __future__ import annotations

import msgspec

from ipledger.engine.commands import Allocate
from ipledger.engine.filters import passed_over
from ipledger.events.addresses import format_ip, parse_ip
from ipledger.events.facts import Address, Candidate, Verdict
from ipledger.events.position import START, Position
from ipledger.events.types import AddressesAllocated, AllocationRefused
from ipledger.projections.pool import Pool
from ipledger.projections.state import State
from ipledger.replay.log import LoggedEvent
from ipledger.replay.past import Past
from ipledger.replay.touching import touching

YES, NO, UNKNOWN = "yes", "no", "needs labels"

_BY_LABELS = (Verdict.POD_MISMATCH, Verdict.NAMESPACE_MISMATCH, Verdict.NODE_MISMATCH)


class Reconsidered(msgspec.Struct, frozen=True, rename="camel"):
    """A candidate pool: the verdict that was recorded, and the one that is reached again.

    `agrees` is `yes`, `no`, or `needs labels` where the log does not hold what is needed.
    """

    pool: str
    ip_version: int
    verdict: str
    detail: str
    again: str
    agrees: str


class Explanation(msgspec.Struct, frozen=True, rename="camel"):
    """A decision on one interface of a pod, and what it follows from.

    `basis` is the position of the state that it was decided from. `addresses` were given; where
    none were, `reason` and `message` say why.
    """

    position: str
    time: str
    basis: str
    pod: str
    interface: str
    node: str
    allocation: str
    reason: str
    message: str
    addresses: tuple[Address, ...]
    candidates: tuple[Reconsidered, ...]
    agrees: bool


async def explain(past: Past, pod: str, until: Position) -> list[Explanation]:
    """The last decision on each interface of a pod up to a position. `pod` is namespace/name."""
    positions = await touching(past, "pod", pod, START, until)
    last: dict[str, LoggedEvent] = {}
    async for logged in past.events(positions):
        if isinstance(logged.event, AddressesAllocated | AllocationRefused):
            last[logged.event.interface] = logged
    return [await _explained(past, logged) for logged in last.values()]


async def _explained(past: Past, logged: LoggedEvent) -> Explanation:
    event = logged.event
    assert isinstance(event, AddressesAllocated | AllocationRefused)
    basis = await past.before(logged.position)
    candidates = reconsidered(await past.state(basis), event)
    given = event if isinstance(event, AddressesAllocated) else None
    refused = event if isinstance(event, AllocationRefused) else None
    return Explanation(
        position=str(logged.position),
        time=logged.time,
        basis=str(basis),
        pod=str(event.pod),
        interface=event.interface,
        node=event.node,
        allocation=given.allocation if given else "",
        reason=refused.reason if refused else "",
        message=refused.message if refused else "",
        addresses=given.addresses if given else (),
        candidates=candidates,
        agrees=all(candidate.agrees != NO for candidate in candidates),
    )


def asked_again(event: AddressesAllocated | AllocationRefused) -> Allocate:
    """What an ADD asked for, as far as its event tells: no labels, and no pools (ADR 58)."""
    return Allocate(
        pod=event.pod,
        sandbox=event.sandbox,
        interface=event.interface,
        node=event.node,
        owner=event.owner if isinstance(event, AddressesAllocated) else None,
    )


def reconsidered(
    state: State, event: AddressesAllocated | AllocationRefused
) -> tuple[Reconsidered, ...]:
    """Each candidate of a decision, decided again from the state before it."""
    command = asked_again(event)
    given = dict(_given(event))
    served: set[int] = set()
    found: list[Reconsidered] = []
    for candidate in event.decision:
        again, agrees = _again(state, command, candidate, given, candidate.ip_version in served)
        if candidate.verdict == Verdict.CHOSEN:
            served.add(candidate.ip_version)
        found.append(
            Reconsidered(
                candidate.pool,
                candidate.ip_version,
                candidate.verdict,
                candidate.detail,
                again,
                agrees,
            )
        )
    return tuple(found)


def _given(event: AddressesAllocated | AllocationRefused) -> list[tuple[int, int]]:
    if isinstance(event, AllocationRefused):
        return []
    return [parse_ip(address.ip) for address in event.addresses]


def _again(
    state: State, command: Allocate, recorded: Candidate, given: dict[int, int], served: bool
) -> tuple[str, str]:
    """The verdict that is reached now, and whether it is the recorded one."""
    if served:
        return Verdict.NOT_REACHED, _same(recorded.verdict == Verdict.NOT_REACHED)
    pool = state.pools.get(recorded.pool)
    if pool is None:
        return "pool does not exist", NO
    passed = passed_over(pool, recorded.ip_version, command)
    if passed is not None and not _hangs_on_what_is_unknown(pool, command, passed):
        return passed.verdict, _same(passed.verdict == recorded.verdict)
    if passed is not None and recorded.verdict == passed.verdict:
        return recorded.verdict, UNKNOWN
    return _offered(pool, command, recorded, given.get(recorded.ip_version))


def _offered(
    pool: Pool, command: Allocate, recorded: Candidate, given: int | None
) -> tuple[str, str]:
    """What a pool that may serve offers, against what was given."""
    offer = pool.choose((command.pod.uid, command.interface))
    if recorded.verdict == Verdict.NO_STATIC_IP:
        return recorded.verdict, UNKNOWN  # which address was asked for is an annotation
    if offer is None:
        return Verdict.EXHAUSTED, _same(recorded.verdict == Verdict.EXHAUSTED)
    version = pool.spec.ip_version
    verdict = f"{Verdict.CHOSEN}: {format_ip(version, offer)}"
    if recorded.verdict != Verdict.CHOSEN or given is None:
        return verdict, NO if recorded.verdict != Verdict.CHOSEN else YES
    if given != offer and pool.can_take(given):  # asked for by an annotation
        return f"{Verdict.CHOSEN}: {format_ip(version, given)}", UNKNOWN
    return verdict, _same(given == offer)


def _hangs_on_what_is_unknown(pool: Pool, command: Allocate, passed: Candidate) -> bool:
    """Whether the labels, the owner or the network of the pod could have made it pass."""
    spec = pool.spec
    if passed.verdict == Verdict.NODE_MISMATCH:
        return not spec.node_name
    if passed.verdict == Verdict.NAMESPACE_MISMATCH:
        return not spec.namespace_name
    if passed.verdict == Verdict.POD_MISMATCH:
        return spec.auto is None or command.owner is None
    return passed.verdict == Verdict.NETWORK_MISMATCH


def _same(agrees: bool) -> str:
    return YES if agrees else NO
