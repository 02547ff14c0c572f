"""What nodes and operators send to the engine: commands and queries, and annotations in them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager

import msgspec
import nats.errors
from support.desk import replay
from support.ledger import Ledger
from support.memory_bus import MemoryBus
from support.realm import REALM, Member, Realm
from support.text import command
from support.virtual_time import VirtualLoop

from fuzz.target import Run, check_text
from ipledger.engine.answers import AnyAnswer, Refused, TryAgain
from ipledger.engine.commands import Allocate, ApplyApplication
from ipledger.engine.decide import decide
from ipledger.engine.engine import Role
from ipledger.engine.pod_annotations import DEFAULT_POOLS, IPPOOL, IPPOOLS, ROUTES, STATIC_IP, fault
from ipledger.engine.subnet_annotations import IP_NUMBER, RECLAIM, SUBNET, SUBNETS
from ipledger.events import commit
from ipledger.events.facts import Application, Owner, Pod
from ipledger.events.types import AllocationRefused
from ipledger.projections.snapshot import Reading, frames, take
from ipledger.replay.verify import verify

PRELUDE = (
    "pool a 10.0.0.0/24 ips=10.0.0.10-10.0.0.20 default",
    "pool six fd00::/64 ips=fd00::1-fd00::ff",
    "subnet s 10.5.0.0/24 ips=10.5.0.1-10.5.0.250",
    "reserve r 10.0.0.10",
    "ADD web-0",
    "ADD web-1",
    "DEL web-1-sandbox",
)
_LINES_MAX = 8
_WAIT_S = 5.0

_answer: Callable[[bytes], AnyAnswer] = msgspec.json.Decoder(AnyAnswer).decode
_KEYS = (IPPOOLS, IPPOOL, ROUTES, STATIC_IP, SUBNETS, SUBNET, IP_NUMBER, RECLAIM)


@contextmanager
def commands() -> Generator[Run]:
    """Lines `SUBJECT PAYLOAD` on the bus, where the subject begins behind the realm.

    Each is answered, the engine goes on leading, a refusal leaves no event but its own record, a
    query none at all, and in the end the log is good and has what the engine has.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        yield lambda data: runner.run(_serve(data))


async def _serve(data: bytes) -> None:
    realm = Realm()
    leader = await realm.leader("engine")
    bus = MemoryBus(realm.net)
    for text in PRELUDE:
        answer = await _asked(bus, *_as_sent(text))
        assert not isinstance(answer, Refused | TryAgain), (text, answer)
    for line in data.split(b"\n")[:_LINES_MAX]:
        subject, _, payload = line.partition(b" ")
        if subject.isascii() and subject.decode().replace(".", "").replace("-", "").isalnum():
            await _send(realm, leader, bus, f"ipledger.{REALM}.{subject.decode()}", payload)
    await _check_log(realm, leader)
    await leader.kill()
    await leader.service.stop()


def _as_sent(text: str) -> tuple[str, bytes]:
    asked = command(text)
    node = getattr(asked, "node", "")
    verb = {"pool": "apply-pool", "subnet": "apply-subnet", "reserve": "apply-reservation"}
    verbs = {"ADD": f"node.{node}.allocate", "DEL": f"node.{node}.release"}
    word = text.partition(" ")[0]
    subject = verbs.get(word) or f"admin.{verb[word]}"
    return f"ipledger.{REALM}.cmd.{subject}", msgspec.json.encode(asked)


async def _asked(bus: MemoryBus, subject: str, payload: bytes) -> AnyAnswer:
    return _answer((await bus.request(subject, payload, _WAIT_S)).data)


async def _send(realm: Realm, leader: Member, bus: MemoryBus, subject: str, data: bytes) -> None:
    before = len(realm.log.payloads)
    try:
        answer = await _asked(bus, subject, data)
    except nats.errors.NoRespondersError:
        return
    assert leader.engine.role is Role.LEADER, f"{subject} ended the leader"
    assert not leader.running.done(), f"{subject} ended the engine"
    behind = [e for payload in realm.log.payloads[before:] for e in commit.decode(payload).events]
    if isinstance(answer, Refused):
        check_text(answer.refusal.message)
        assert [type(event) for event in behind] in ([], [AllocationRefused]), "invariant 4"
    if ".query." in subject:
        assert not behind, "a query changed something"


async def _check_log(realm: Realm, leader: Member) -> None:
    report = await verify(realm.log)
    assert report.ok, report
    state = replay(realm.log.payloads)
    engine = leader.engine._replica.fold  # pyright: ignore[reportPrivateUsage]
    assert state.digest() == engine.state.digest() == report.digest, "invariant 5"
    reading = Reading("", engine.sequence, engine.hash)
    for frame in frames(take(engine, "", "0")):
        reading.take(frame)
    assert reading.fold().state.digest() == report.digest, "a snapshot tells otherwise"


@contextmanager
def annotated() -> Generator[Run]:
    """A text as each annotation that is read: in turn of the pod, its namespace, its workload."""
    ledger = Ledger()
    ledger.do(*map(command, PRELUDE[:4]))

    def run(data: bytes) -> None:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return
        for key in _KEYS:
            asked = _adding(annotations={key: text, **({} if key == SUBNET else _SUBNET_TOO)})
            _decide(ledger, asked)
            told = Application("apps/v1", "Deployment", "ns", "web", annotations={key: text})
            _decide(ledger, ApplyApplication(application=told))
            found = fault({key: text})
            if found is not None:
                check_text(found.message)
        for key in DEFAULT_POOLS.values():
            _decide(ledger, _adding(namespace_annotations={key: text}))

    yield run


_SUBNET_TOO = {SUBNET: '{"ipv4":["s"]}'}


def _adding(**given: dict[str, str]) -> Allocate:
    return Allocate(
        pod=Pod("ns", "web-x", "uid"),
        owner=Owner("apps/v1", "Deployment", "web"),
        replicas=2,
        sandbox="sandbox",
        interface="eth0",
        node="n1",
        **given,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    )


def _decide(ledger: Ledger, asked: Allocate | ApplyApplication) -> None:
    state = ledger.head.state
    digest = state.digest()
    decision = decide(state, asked, ledger.now)
    for event in decision.events:
        commit.encode_event(event)
    if decision.refusal is not None:
        check_text(decision.refusal.message)
    assert state.digest() == digest, "decide changed the state"
