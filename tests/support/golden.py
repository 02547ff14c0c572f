"""Golden histories: the exact bytes that a released version stored, and the digest they fold to.

A history is never changed once its version is released: old logs exist. Its digest is of
`State.digest()`, and changes whenever the state holds more or otherwise; the change is then
made knowingly, with this program, and reviewed. `projections.snapshot.FORMAT` rises with it, once
a version that writes snapshots is released:

    cd tests && ../.venv/bin/python -m support.golden digest histories/v1
    cd tests && ../.venv/bin/python -m support.golden record histories/v2

`digest` writes the digest of a history anew. `record` writes a new history of every event type
with this version's code; it refuses where there is one already.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from ipledger.engine.commands import (
    Allocate,
    AnyCommand,
    ImportAllocation,
    Release,
    ReleaseAllocation,
    Steps,
)
from ipledger.engine.decide import Decision, decide
from ipledger.events import commit
from ipledger.events.chain import Head
from ipledger.events.checkpoint import Signer
from ipledger.events.types import AnyEvent, CheckpointSigned, LeadershipTaken
from ipledger.projections.evolve import Moment, evolve
from ipledger.projections.state import State
from support.desk import NOON, SECOND, replay
from support.text import command

SIGNER = Signer(b"SUAGS4DMMVSGOZLSEBTW63DEMVXCA2DJON2G64TJMVZSYIDWGEXC4LVYBU")
"""A key that signs nothing but histories."""

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

STORY: tuple[tuple[str, ...], ...] = (
    (
        "pool four 10.6.0.0/16 ips=10.6.1.1-10.6.1.3,10.6.1.9 exclude=10.6.1.2 gateway=10.6.0.1 "
        "routes=10.9.0.0/16>10.6.0.2 default",
        "pool six fd00:6::/64 ips=fd00:6::10-fd00:6::ffff default",
    ),
    ("pool spare 10.7.0.0/24 ips=10.7.0.7", "pool off 10.8.0.0/24 ips=10.8.0.8 disable"),
    ("ADD web-0", "ADD web-1", "ADD web-1 if=net1 v4=spare clean-gateway"),
    ("ADD web-0",),
    ("ADD web-0 sandbox=web-0-second", "DEL web-0-sandbox"),
    ("DEL overtaking", "ADD late sandbox=overtaking", "DEL overtaking"),
    ("ADD refused v4=off", "ADD refused v4=off", "ADD refused v4=spare,off"),
    ("ADD nobody v4=nothing", "ADD web-9 node=worker-2.example.com v4=four,spare"),
    ("DEL web-1-sandbox", "DEL web-1-sandbox"),
    ("ADD web-1 sandbox=web-1-second",),
    ("release a1 sandbox=web-0-second evidence=node-worker-1-is-gone",),
    ("pool four 10.6.0.0/16 ips=10.6.1.1-10.6.1.20 gateway=10.6.0.1 default", "delete off"),
    ("ADD web-2", "ADD web-3 v6=six"),
    (
        "reserve keep 10.6.1.8-10.6.1.9 10.6.1.30",
        "pool gold 10.5.0.0/24 ips=10.5.0.9 podAffinity='tier in (gold, silver), app=web' "
        "namespaceName=ns namespaceAffinity='team=shop' nodeName=n1,n2 "
        "nodeAffinity='zone, !spot, arch notin (arm64)' multusName=ns/net",
    ),
    (
        "subnet wide 10.4.0.0/16 ips=10.4.0.10-10.4.0.99 exclude=10.4.0.50 gateway=10.4.0.1 "
        "routes=10.9.0.0/16>10.4.0.2",
        "pool narrow 10.4.0.0/16 ips=10.4.0.20",
    ),
    ("subnet wide 10.4.0.0/16 ips=10.4.0.10-10.4.0.120", "delete narrow", "unsubnet wide"),
    (
        "subnet wide 10.4.0.0/16 ips=10.4.0.10-10.4.0.99 gateway=10.4.0.1",
        "pool narrow 10.4.0.0/16 ips=10.4.0.20",
        "subnet wide 10.4.0.0/16 ips=10.4.0.10-10.4.0.99 gateway=10.4.0.2",
        "pool narrow 10.4.0.0/16 ips=10.4.0.20 gateway=10.4.0.3",
        "delete narrow",
        "unsubnet wide",
    ),
    ("application apps/v1/StatefulSet/cart replicas=3",),
    (
        "ADD cart-0 owner=apps/v1/StatefulSet/cart",
        'ADD cart-1 owner=apps/v1/StatefulSet/cart @ippools=\'[{"ipv4":["four"]}]\'',
        "ADD web-x owner=apps/v1/Deployment/web labels=tier=gold,app=web net=ns/net",
    ),
    ("DEL cart-0-sandbox", "DEL cart-1-sandbox"),
    ("ADD cart-0 uid=second sandbox=cart-0-second node=n2 owner=apps/v1/StatefulSet/cart",),
    ("application apps/v1/StatefulSet/cart replicas=1",),
    ("reserve keep 10.6.1.30", "reserve more fd00:6::10-fd00:6::1f"),
    ("unreserve keep", "DEL cart-0-second node=n2"),
    ("gone apps/v1/StatefulSet/cart",),
    (
        "subnet auto 10.3.0.0/16 ips=10.3.0.10-10.3.0.99 gateway=10.3.0.1",
        "application apps/v1/Deployment/web uid=0-abcdef replicas=2 "
        '@subnets=\'[{"interface":"eth0","ipv4":["auto"]}]\' @ippool-ip-number=+2 '
        "@ippool-reclaim=false",
    ),
    ('ADD auto-1 owner=apps/v1/Deployment/shop replicas=1 @subnet=\'{"ipv4":["auto"]}\'',),
    ("gone apps/v1/Deployment/shop", "gone apps/v1/Deployment/web"),
    ("DEL auto-1-sandbox",),
    (
        "application apps/v1/StatefulSet/cart replicas=2",
        "reserve kept 10.6.1.11",
        "import cart-1 four=10.6.1.11/16>10.6.0.1 owner=apps/v1/StatefulSet/cart slot=1 held",
        "import old four=10.6.1.12/16 six=fd00:6::99/64 network=podnet routes=10.9.0.0/16>10.6.0.2",
        "import gone four=10.6.1.13/16",
    ),
    ("DEL gone-sandbox ended-pod=gone-uid", "ADD old sandbox=old-second"),
    (
        "ADD web-c @ipledger.io/static-ip=10.6.1.16",
        "ADD web-c conflict=10.6.1.16/02:42:0a:06:01:10",
        "quarantine fd00:6::aa mac=02:42:0a:06:01:aa evidence=printer",
        "quarantine 10.6.1.15",
        "restore 10.6.1.15 evidence=gone",
    ),
)
"""Commits, a second apart: what each was asked."""


def read_history(folder: Path) -> list[bytes]:
    """The stored commits of a history, one a line."""
    return (folder / "history.jsonl").read_bytes().splitlines()


def write_digest(folder: Path) -> None:
    """Write the digest that a history folds to now."""
    digest = replay(read_history(folder)).digest()
    (folder / "digest").write_text(f"{digest}\n")


def record(folder: Path) -> None:
    """Write a history of the story, and its digest. Raises `FileExistsError`."""
    folder.mkdir(parents=True)
    state, payloads = State(), list[bytes]()
    _store(state, payloads, [LeadershipTaken(epoch=1, engine="engine-1", version="0.1.0")])
    for texts in STORY:
        now = _time(payloads)
        events: list[AnyEvent] = []
        for text in texts:
            for event in _decided(state, text, now).events:
                evolve(state, event, Moment(len(payloads) + 1, len(events), now))
                events.append(event)
        if events:
            _append(state, payloads, events)
    _store(state, payloads, [LeadershipTaken(epoch=2, engine="engine-2", version="0.1.0")])
    _store(state, payloads, [_checkpoint(payloads)])
    (folder / "history.jsonl").write_bytes(b"".join(payload + b"\n" for payload in payloads))
    write_digest(folder)


def _time(payloads: list[bytes]) -> int:
    return NOON + len(payloads) * SECOND


def _checkpoint(payloads: list[bytes]) -> CheckpointSigned:
    head = Head(len(payloads), commit.digest(payloads[-1]))
    return SIGNER.sign("default", head, _time(payloads))


def _decided(state: State, text: str, now: int) -> Decision:
    return decide(state, _with_trace(command(text), now), now)


def _with_trace(asked: AnyCommand, now: int) -> AnyCommand:
    steps = Steps(shim=now - 1700, agent=now - 1500, sent=now - 1400)
    match asked:
        case Allocate():
            return msgspec.structs.replace(
                asked, traceparent=TRACEPARENT, network="podnet", steps=steps, received=now - 200
            )
        case Release():
            return msgspec.structs.replace(
                asked, traceparent=TRACEPARENT, steps=steps, received=now - 100
            )
        case ImportAllocation() | ReleaseAllocation():
            return msgspec.structs.replace(asked, traceparent=TRACEPARENT)
        case _:
            return asked


def _store(state: State, payloads: list[bytes], events: list[AnyEvent]) -> None:
    for index, event in enumerate(events):
        evolve(state, event, Moment(len(payloads) + 1, index, _time(payloads)))
    _append(state, payloads, events)


def _append(state: State, payloads: list[bytes], events: list[AnyEvent]) -> None:
    prev = commit.digest(payloads[-1]) if payloads else commit.GENESIS
    encoded = [commit.encode_event(event) for event in events]
    took = commit.Took(40, 900) if payloads else None
    payloads.append(commit.encode(state.epoch, _time(payloads), prev, encoded, took))


if __name__ == "__main__":
    verb, where = sys.argv[1:]
    {"digest": write_digest, "record": record}[verb](Path(where))
