"""Which pools are candidates for an interface (DESIGN section 8; Spiderpool's six rules).

The first rule that names any pool wins alone, for both families: annotations `subnets` and `subnet`
(auto pools), `ippools`, `ippool`, the namespace's defaults, the CNI configuration, and the pools
that are defaults. A pool named literally must exist; a wildcard stands for the pools of its family
that it matches, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from ipledger.engine import pod_annotations
from ipledger.engine.auto_selection import auto_candidates
from ipledger.engine.commands import Allocate
from ipledger.engine.filters import rank
from ipledger.engine.identity import NAME_MAX
from ipledger.engine.pod_annotations import InterfacePools, PoolNames
from ipledger.engine.refusals import Reason, Refusal
from ipledger.events.quoting import quote
from ipledger.events.types import AnyEvent
from ipledger.projections.allocations import Allocation
from ipledger.projections.pool import Pool
from ipledger.projections.state import State

_WILDCARDS = frozenset("*?[")
NAMES_MAX = 100
"""Names or wildcards of pools that one rule may give for a family."""
WILDCARDS_MAX = 10
"""Of those, wildcards: to prepare one takes as long as to serve a few pods."""
NO_SLOT = -1


class Named(NamedTuple):
    """What a rule names, by IP version, and in which field; `slot` is an unnamed list's item."""

    pools: dict[int, tuple[str, ...]]
    fields: dict[int, str]
    clean_gateway: bool
    slot: int = NO_SLOT


_Found: TypeAlias = Named | Refusal | None


class Selected(NamedTuple):
    """Candidate pools of each family asked for, in the order they are tried."""

    pools: tuple[tuple[int, tuple[str, ...]], ...]
    clean_gateway: bool
    slot: int
    asked: dict[int, str]
    """What was asked for, by IP version, for a reader."""
    events: tuple[AnyEvent, ...] = ()
    """What must come true first: auto pools that are made or made larger."""
    drafts: Mapping[str, Pool] = {}
    """Pools as those events make them."""


def select(state: State, command: Allocate, kept: Allocation | None) -> Selected | Refusal:
    """The candidates for a request; `kept` is the allocation of the pod's place, if it has any."""
    auto = auto_candidates(state, command, kept)
    if isinstance(auto, Refusal):
        return auto
    if auto is not None:
        pools = tuple((version, (name,)) for version, name in auto.pools.items())
        clean = command.clean_gateway
        return Selected(pools, clean, NO_SLOT, auto.subnets, auto.events, auto.drafts)
    for rule in _RULES:
        named = rule(state, command, kept)
        if named is not None:
            return named if isinstance(named, Refusal) else _expanded(state, named)
    message = (
        f"no pool for {command.pod} interface {command.interface}: no annotation and no CNI "
        "configuration names one, and no pool is a default (spec.default: true)"
    )
    return Refusal(Reason.NO_POOL_SELECTED, message)


def _by_interface(state: State, command: Allocate, kept: Allocation | None) -> _Found:
    text = command.annotations.get(pod_annotations.IPPOOLS)
    if text is None:
        return None
    items = pod_annotations.interface_pools(text)
    if isinstance(items, Refusal):
        return items
    if not items[0].interface:
        return _unnamed(state, command, items, kept)
    for item in items:
        if item.interface == command.interface:
            return _of_item(item, command, NO_SLOT)
    what = f"does not name interface {command.interface}"
    return pod_annotations.wrong(pod_annotations.IPPOOLS, text, what)


def _unnamed(
    state: State, command: Allocate, items: tuple[InterfacePools, ...], kept: Allocation | None
) -> Named | Refusal:
    """The item that the interface had before, else the first that no other one has claimed."""
    if kept is not None and 0 <= kept.slot < len(items):
        return _of_item(items[kept.slot], command, kept.slot)
    claimed = {allocation.slot for allocation in state.allocations.of_pod(command.pod.uid)}
    for slot, item in enumerate(items):
        if slot not in claimed:
            return _of_item(item, command, slot)
    what = f"has {len(items)} items, and none is left for interface {command.interface}"
    text = command.annotations[pod_annotations.IPPOOLS]
    return pod_annotations.wrong(pod_annotations.IPPOOLS, text, what)


def _of_item(item: InterfacePools, command: Allocate, slot: int) -> Named:
    clean = command.clean_gateway if item.cleangateway is None else item.cleangateway
    key = pod_annotations.IPPOOLS
    return Named({4: item.ipv4, 6: item.ipv6}, {4: key, 6: key}, clean, slot)


def _by_pod(state: State, command: Allocate, kept: Allocation | None) -> _Found:
    key = pod_annotations.IPPOOL
    text = command.annotations.get(key)
    if text is None:
        return None
    names = pod_annotations.read(key, text, PoolNames)
    if isinstance(names, Refusal):
        return names
    return Named({4: names.ipv4, 6: names.ipv6}, {4: key, 6: key}, command.clean_gateway)


def _by_namespace(state: State, command: Allocate, kept: Allocation | None) -> _Found:
    pools: dict[int, tuple[str, ...]] = {}
    for ip_version, key in pod_annotations.DEFAULT_POOLS.items():
        text = command.namespace_annotations.get(key)
        if not text:
            continue
        names = pod_annotations.read(key, text, tuple[str, ...])
        if isinstance(names, Refusal):
            return names
        pools[ip_version] = names
    if not any(pools.values()):
        return None
    return Named(pools, pod_annotations.DEFAULT_POOLS, command.clean_gateway)


def _by_cni_configuration(state: State, command: Allocate, kept: Allocation | None) -> _Found:
    pools = {4: command.default_ipv4_pools, 6: command.default_ipv6_pools}
    fields = {4: "default_ipv4_ippool", 6: "default_ipv6_ippool"}
    return Named(pools, fields, command.clean_gateway) if any(pools.values()) else None


def _by_default(state: State, command: Allocate, kept: Allocation | None) -> _Found:
    pools = state.directory.defaults
    return Named(pools, {4: "", 6: ""}, command.clean_gateway) if any(pools.values()) else None


_RULES: tuple[Callable[[State, Allocate, Allocation | None], _Found], ...] = (
    _by_interface,
    _by_pod,
    _by_namespace,
    _by_cni_configuration,
    _by_default,
)


def _expanded(state: State, named: Named) -> Selected | Refusal:
    selected: list[tuple[int, tuple[str, ...]]] = []
    for ip_version, patterns in named.pools.items():
        if not patterns:
            continue
        names = _names(state, ip_version, patterns, named.fields[ip_version])
        if isinstance(names, Refusal):
            return names
        if len(names) > 1:
            names = tuple(sorted(names, key=lambda name: rank(state.pools[name].spec)))
        selected.append((ip_version, names))
    if not selected:
        field = named.fields[4]
        return Refusal(Reason.NO_POOL_SELECTED, f"{field} names no pool", field)
    asked = {version: ", ".join(patterns) for version, patterns in named.pools.items()}
    return Selected(tuple(selected), named.clean_gateway, named.slot, asked)


def _names(
    state: State, ip_version: int, patterns: tuple[str, ...], field: str
) -> tuple[str, ...] | Refusal:
    """Pool names, with wildcards expanded where they stand; what comes twice so stays once."""
    too_much = _too_much(patterns, field)
    if too_much is not None:
        return too_much
    names: dict[str, None] = {}
    for at, pattern in enumerate(patterns):
        if pattern in patterns[:at]:
            message = f"{field} names pool {quote(pattern)} twice"
            return Refusal(Reason.BAD_REQUEST, message, field, pattern)
        if not _WILDCARDS.isdisjoint(pattern):
            names.update(dict.fromkeys(state.directory.names[ip_version].matching(pattern)))
        elif pattern in state.pools:
            names[pattern] = None
        else:
            message = f"{field} names pool {quote(pattern)}, which does not exist"
            return Refusal(Reason.POOL_UNKNOWN, message, field, pattern)
    return tuple(names)


def _too_much(patterns: tuple[str, ...], field: str) -> Refusal | None:
    """Why names are not looked for: each wildcard is held against every pool, and all wait."""
    if field and len(patterns) > NAMES_MAX:
        what = f"names {len(patterns)} pools, more than {NAMES_MAX}"
        return Refusal(Reason.BAD_REQUEST, f"{field} {what}", field, str(len(patterns)))
    wildcards = [pattern for pattern in patterns if not _WILDCARDS.isdisjoint(pattern)]
    if len(wildcards) > WILDCARDS_MAX:
        what = f"has {len(wildcards)} wildcards, more than {WILDCARDS_MAX}"
        return Refusal(Reason.BAD_REQUEST, f"{field} {what}", field, str(len(wildcards)))
    long = [pattern for pattern in patterns if len(pattern) > NAME_MAX]
    if long:
        what = f"names pool {quote(long[0])}, which has more than {NAME_MAX} characters"
        return Refusal(Reason.BAD_REQUEST, f"{field} {what}", field, long[0])
    return None
