"""What the log says of a pool or subnet, in the words of Spiderpool's statuses. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from ipledger.engine.refusals import Refusal
from ipledger.engine.subnets import pools_of
from ipledger.events.addresses import format_ip
from ipledger.projections.allocations import Allocation
from ipledger.projections.cluster.spiderpool import Condition
from ipledger.projections.pool import Pool
from ipledger.projections.ranges import size, usable
from ipledger.projections.state import State

STATUS_BYTES_MAX = 1 << 20
"""A map that would be longer as JSON is cut: etcd takes 1.5 MiB an object by default."""

ACCEPTED = "Accepted"
"""The condition that says whether the log has what the object asks for."""

TERMINATING = "Terminating"
"""The condition that says what a deleted object still waits for."""

CUT = "Cut"
"""The condition that is there while a map of the status has not all that it should have."""

COUNT_MAX = (1 << 63) - 1
"""The counts are int64 in the definitions; an IPv6 /64 has more addresses."""

_encode = msgspec.json.encode


def pool_status(state: State, name: str) -> dict[str, Any]:
    """`status` of a SpiderIPPool, {} where there is no such pool.

    `allocatedIPs` has every address that is not free, held ones with the pod that had them last.
    """
    pool = state.pools.get(name)
    if pool is None:
        return {}
    version, taken = pool.spec.ip_version, pool.taken
    of = state.allocations.numbered
    entries = ((format_ip(version, a), _holder(of(taken[a]))) for a in sorted(taken))
    text, left_out = _map(entries, len(pool.taken))
    return _cut("allocatedIPs", left_out) | {
        "totalIPCount": _count(pool.total),
        "allocatedIPCount": len(pool.taken),
        "allocatedIPs": text,
    }


def subnet_status(state: State, name: str) -> dict[str, Any]:
    """`status` of a SpiderSubnet, {} where there is no such subnet."""
    spec = state.subnets.get(name)
    if spec is None:
        return {}
    pools = pools_of(state, spec)
    text, left_out = _map(((pool.spec.name, _share(pool)) for pool in pools), len(pools))
    return _cut("controlledIPPools", left_out) | {
        "totalIPCount": _count(size(usable(spec))),
        "allocatedIPCount": _count(sum(pool.total for pool in pools)),
        "controlledIPPools": text,
    }


def reservation_status(state: State, name: str) -> dict[str, Any]:
    """`status` of a SpiderReservedIP: only the conditions."""
    return {}


def accepted(refusal: Refusal | None) -> Condition:
    """The condition of an object that was applied, or refused."""
    if refusal is None:
        return Condition(ACCEPTED, "True", "Applied", "the log has it")
    return Condition(ACCEPTED, "False", refusal.reason, refusal.message)


def terminating(why: str) -> Condition:
    """The condition of an object that is deleted, and waits for what uses it."""
    return Condition(TERMINATING, "True", "InUse", why)


def conditions(
    now: tuple[Condition, ...], before: Iterable[Condition], generation: int, time: str
) -> tuple[Condition, ...]:
    """Conditions with the time since when each has its status, which is `time` for a new one."""
    known = {condition.type: condition for condition in before}
    return tuple(
        msgspec.structs.replace(
            condition,
            last_transition_time=_since(condition, known.get(condition.type), time),
            observed_generation=generation,
        )
        for condition in now
    )


def cut_condition(status: dict[str, Any]) -> tuple[Condition, ...]:
    """Take the note of what was left out from a status, and make a condition of it."""
    note = status.pop(CUT, "")
    return (Condition(CUT, "True", "TooLarge", note),) if note else ()


def _since(condition: Condition, before: Condition | None, time: str) -> str:
    if before is not None and before.status == condition.status:
        return before.last_transition_time or time
    return time


def _count(addresses: int) -> int:
    return min(addresses, COUNT_MAX)


def _holder(allocation: Allocation) -> dict[str, Any]:
    namespace = allocation.common.namespace
    pod = f"{namespace}/{allocation.pod_name}" if namespace else allocation.pod_name
    return {"pod": pod, "podUid": allocation.pod_uid}


def _share(pool: Pool) -> dict[str, Any]:
    """What a pool has of its subnet, as SpiderSubnet's `controlledIPPools` says it."""
    spec, auto = pool.spec, pool.spec.auto
    share: dict[str, Any] = {"ips": list(spec.ips)}
    if auto is not None:
        of = (auto.owner.api_version, auto.owner.kind, auto.namespace, auto.owner.name)
        share["application"] = "_".join(of).replace("/", "_")
    return share


def _map(entries: Iterable[tuple[str, dict[str, Any]]], count: int) -> tuple[str, int]:
    """A map as JSON, as far as it may be long, and how many entries were left out."""
    parts: list[bytes] = []
    length = 2
    for key, value in entries:
        part = _encode(key) + b":" + _encode(value)
        length += len(part) + 1
        if length > STATUS_BYTES_MAX:
            break
        parts.append(part)
    return f"{{{b','.join(parts).decode()}}}", count - len(parts)


def _cut(field: str, left_out: int) -> dict[str, Any]:
    if not left_out:
        return {}
    return {CUT: f"{field} leaves out {left_out} entries; `ipledger get` shows all of them"}
