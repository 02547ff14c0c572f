"""Which events touched something: an address, a pod, a pool, a node, an identity."""

from __future__ import annotations

from typing import Any

from ipledger.events.addresses import format_ip, parse_ip
from ipledger.events.position import Position
from ipledger.replay.past import Past

KINDS = ("ip", "pod", "pool", "node", "identity")

_OF_INTERVALS = """
SELECT events.position FROM intervals JOIN events USING (allocation)
WHERE {condition}
  AND events.position >= intervals.from_position
  AND events.position <= coalesce(intervals.to_position, :until)
  AND intervals.from_position <= :until
  AND coalesce(intervals.to_position, :until) >= :since
  AND events.position BETWEEN :since AND :until
"""
_OF_TOUCHES = """
SELECT position FROM touches
WHERE kind = :kind AND name {match} AND position BETWEEN :since AND :until
"""
_CONDITIONS = {
    "ip": "address = :name",
    "pod": "pod = :pod AND namespace = :namespace",
    "pool": "pool = :name",
    "node": "node = :name",
    "identity": "uid = :uid AND (:interface = '' OR interface = :interface)",
}


async def touching(past: Past, kind: str, name: str, since: Position, until: Position) -> list[int]:
    """The numbers of the positions of the events from `since` to `until`, both in, in order.

    A pod is `namespace/name`, an identity `uid` or `uid/interface`. Raises `ValueError` on an
    address that is none.
    """
    values = {"kind": kind, "since": since.number, "until": until.number, **_named(kind, name)}
    match = "= :name"
    if kind == "identity" and not values["interface"]:
        match = "GLOB :name || '/*'"
    sql = " UNION ".join(
        (
            _OF_INTERVALS.format(condition=_CONDITIONS[kind]),
            _OF_TOUCHES.format(match=match),
        )
    )
    rows = await past.store.query(f"{sql} ORDER BY 1", values)
    return [position for (position,) in rows]


def _named(kind: str, name: str) -> dict[str, Any]:
    if kind == "ip":
        return {"name": format_ip(*parse_ip(name))}
    if kind == "pod":
        namespace, _, pod = name.rpartition("/")
        return {"name": name, "namespace": namespace, "pod": pod}
    if kind == "identity":
        uid, _, interface = name.partition("/")
        return {"name": name, "uid": uid, "interface": interface}
    return {"name": name}
