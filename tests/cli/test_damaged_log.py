"""`verify` and `log` on a log that was tampered with: each invariant, and where it breaks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest
from nats.aio.client import Client as NatsClient
from support.terminal import Cli

from ipledger.events import commit
from ipledger.events.facts import Address, Pod, PoolSpec, ReservationSpec
from ipledger.events.jetstream import JetStreamLog
from ipledger.events.log import Appended, Entry
from ipledger.events.memory import MemoryLog
from ipledger.events.types import (
    AddressesAllocated,
    AddressesReleased,
    AddressQuarantined,
    AddressRestored,
    AllocationRebound,
    AnyEvent,
    LeadershipTaken,
    PoolCreated,
    PoolDeleted,
    PoolUpdated,
    ReservationCreated,
    ReservationDeleted,
    ReservationUpdated,
)
from ipledger.replay.verify import verify

LEADER = LeadershipTaken(epoch=1, engine="e", version="0")


def pool(name: str = "a", *ips: str, exclude: tuple[str, ...] = ()) -> PoolSpec:
    return PoolSpec(name, 4, "10.6.0.0/16", ips or ("10.6.0.1-10.6.0.9",), exclude)


def allocated(
    allocation: str, address: str, pod: str = "", in_pool: str = "a"
) -> AddressesAllocated:
    pod = pod or allocation
    return AddressesAllocated(
        allocation=allocation,
        pod=Pod("ns", pod, pod),
        node="n",
        sandbox=f"sandbox-{allocation}",
        interface="eth0",
        addresses=(Address(in_pool, f"{address}/16"),),
    )


def released(allocation: str) -> AddressesReleased:
    return AddressesReleased(allocation=allocation, sandbox="s", reason="operator")


CREATED = PoolCreated(pool=pool())
PRINTERS = ReservationSpec("printers", 4, ("10.6.0.2-10.6.0.3",))
PRINTERS_MOVED = ReservationSpec("printers", 4, ("10.6.0.7",))
RESERVED = ReservationCreated(reservation=PRINTERS)
HELD = allocated("a1", "10.6.0.1")
QUARANTINED = AddressQuarantined(address="10.6.0.2", mac="02:00:00:00:00:01")
RESTORED = AddressRestored(address="10.6.0.2")

VIOLATIONS: dict[str, tuple[Sequence[AnyEvent], str]] = {
    "an address with two holders": (
        (CREATED, HELD, allocated("a2", "10.6.0.1")),
        "invariant 1: 10.6.0.1 is held by a1 already",
    ),
    "an address outside its pool": (
        (CREATED, allocated("a1", "10.6.0.10")),
        "invariant 2: 10.6.0.10 is not an address of pool 'a'",
    ),
    "an excluded address": (
        (PoolCreated(pool=pool(exclude=("10.6.0.2-10.6.0.3",))), allocated("a1", "10.6.0.3")),
        "invariant 2: 10.6.0.3 is not an address of pool 'a'",
    ),
    "a reserved address": (
        (CREATED, RESERVED, allocated("a1", "10.6.0.2")),
        "invariant 1: 10.6.0.2 is reserved by 'printers'",
    ),
    "a quarantined address": (
        (CREATED, QUARANTINED, allocated("a1", "10.6.0.2")),
        "invariant 1: 10.6.0.2 is quarantined",
    ),
    "a quarantined address in another spelling": (
        (
            PoolCreated(pool=PoolSpec("a", 6, "fd00::/64", ("fd00::1-fd00::9",))),
            AddressQuarantined(address="fd00:0::2"),
            allocated("a1", "fd00::2"),
        ),
        "invariant 1: fd00::2 is quarantined",
    ),
    "a second quarantine": (
        (CREATED, QUARANTINED, QUARANTINED),
        "invariant 1: 10.6.0.2 is quarantined already",
    ),
    "the end of a quarantine that there is not": (
        (CREATED, QUARANTINED, RESTORED, RESTORED),
        "invariant 1: 10.6.0.2 is restored, but not quarantined",
    ),
    "an address that a changed reservation names": (
        (
            CREATED,
            RESERVED,
            ReservationUpdated(reservation=PRINTERS_MOVED),
            allocated("a1", "10.6.0.7"),
        ),
        "invariant 1: 10.6.0.7 is reserved by 'printers'",
    ),
    "an address of no pool": (
        (CREATED, allocated("a1", "10.6.0.1", in_pool="b")),
        "invariant 2: no IPv4 pool 'b'",
    ),
    "two pools that share an address": (
        (CREATED, PoolCreated(pool=pool("b", "10.6.0.9-10.6.0.12"))),
        "invariant 3: pools 'a' and 'b' share 10.6.0.9",
    ),
    "a change that drops a held address": (
        (CREATED, HELD, PoolUpdated(pool=pool("a", "10.6.0.2-10.6.0.9"))),
        "invariant 3: the change of pool 'a' drops 10.6.0.1, which is held",
    ),
    "the deletion of a pool in use": (
        (CREATED, HELD, PoolDeleted(name="a")),
        "invariant 3: pool 'a' is deleted with 1 addresses held",
    ),
    "an address that is none": (
        (CREATED, allocated("a1", "10.6.0")),
        "invariant 2: '10.6.0' does not appear to be an IPv4 or IPv6 address",
    ),
    "a second release": (
        (CREATED, HELD, released("a1"), released("a1")),
        "invariant 7: a1 is released, but is not live",
    ),
    "a rebind of what is not live": (
        (CREATED, AllocationRebound(allocation="a1", sandbox="s")),
        "invariant 7: a1 is rebound, but is not live",
    ),
    "a rebind to a pod that has an allocation": (
        (
            CREATED,
            HELD,
            allocated("a2", "10.6.0.2"),
            AllocationRebound(allocation="a2", sandbox="s", pod=Pod("ns", "a1", "a1"), node="n"),
        ),
        "invariant 8: pod ns/a1 interface eth0 holds a1 already",
    ),
    "two allocations for one interface": (
        (CREATED, HELD, allocated("a2", "10.6.0.2", pod="a1")),
        "invariant 8: pod ns/a1 interface eth0 holds a1 already",
    ),
}


async def memory_log(*commits: Sequence[AnyEvent]) -> MemoryLog:
    log = MemoryLog()
    for number, payload in enumerate(chain(*commits)):
        assert isinstance(await log.append(payload, after=number), Appended)
    return log


def chain(*commits: Sequence[AnyEvent]) -> list[bytes]:
    payloads: list[bytes] = []
    prev = commit.GENESIS
    for number, events in enumerate(commits):
        payload = commit.encode(1, number, prev, map(commit.encode_event, events))
        prev = commit.digest(payload)
        payloads.append(payload)
    return payloads


async def test_verify_accepts_a_held_address_that_is_reserved_and_one_that_no_longer_is() -> None:
    again = allocated("a2", "10.6.0.3", pod="p2")
    events = (
        CREATED,
        allocated("a1", "10.6.0.2"),
        RESERVED,
        released("a1"),
        ReservationDeleted(name="printers"),
        again,
    )

    report = await verify(await memory_log((LEADER,), events))

    assert report.ok, report.reason


@pytest.mark.parametrize("case", VIOLATIONS)
async def test_verify_names_the_position_and_the_invariant_of(case: str) -> None:
    events, reason = VIOLATIONS[case]
    log = await memory_log((LEADER,), events)

    report = await verify(log)

    assert not report.ok
    assert report.bad_position == f"2.{len(events) - 1}"
    assert reason in report.reason
    assert (report.commits, report.events, report.position) == (1, 1, "1.0")
    assert report.digest == ""


async def test_verify_accepts_an_address_that_was_released_and_given_to_another() -> None:
    events = (CREATED, HELD, released("a1"), allocated("a2", "10.6.0.1", pod="a1"))

    report = await verify(await memory_log((LEADER,), events, (released("a2"),)))

    assert report.ok, report.reason
    assert (report.commits, report.events, report.position) == (3, 6, "3.0")


async def test_verify_names_a_commit_that_is_missing() -> None:
    log = await memory_log((LEADER,), (CREATED,), (HELD,), (released("a1"),))

    class Gapped(MemoryLog):
        async def read(self, after: int) -> AsyncIterator[Entry]:
            async for entry in log.read(after):
                if entry.sequence != 3:
                    yield entry

    report = await verify(Gapped())

    assert (report.ok, report.bad_position, report.position) == (False, "3.0", "2.0")
    assert report.reason == "missing: the log goes on at 4"


async def test_verify_tells_how_far_it_is() -> None:
    told: list[int] = []

    await verify(await memory_log((LEADER,), (CREATED,), (HELD,)), told.append)

    assert told == [1, 2, 3]


async def test_verify_finds_a_changed_byte_in_the_commit_behind_it(
    cli: Cli, nc: NatsClient, realm: str
) -> None:
    payloads = chain((LEADER,), (CREATED,), (HELD,), (released("a1"),))
    await store(
        nc, realm, payloads[0], payloads[1], payloads[2].replace(b"sandbox-a1", b"sandbox-a2")
    )
    await store(nc, realm, payloads[3], after=3)

    result = await cli("verify", "-o", "json")

    assert result.code == 3
    found = msgspec.json.decode(result.stdout)
    assert (found["ok"], found["badPosition"], found["commits"]) == (False, "4.0", 3)
    changed = commit.digest(payloads[2].replace(b"sandbox-a1", b"sandbox-a2"))
    prev = commit.digest(payloads[2])
    assert found["reason"] == f"prev is {prev}, but commit 3 has hash {changed}"
    assert result.stderr == f"error: 4.0: {found['reason']}\n"


async def test_log_prints_what_it_can_read_and_names_what_it_cannot(
    cli: Cli, nc: NatsClient, realm: str
) -> None:
    payloads = chain((LEADER,), (CREATED,), (PoolDeleted(name="a"),))
    unknown = payloads[1].replace(b'"PoolCreated"', b'"PoolBlessed"')
    await store(nc, realm, payloads[0], unknown, payloads[2], b"\x00 no JSON")

    result = await cli("log", "-o", "jsonl")

    assert result.code == 3
    printed = [msgspec.json.decode(line) for line in result.stdout.splitlines()]
    assert [(event["position"], event["type"]) for event in printed] == [
        ("1.0", "LeadershipTaken"),
        ("3.0", "PoolDeleted"),
    ]
    errors = result.stderr.splitlines()
    assert [line.partition(":")[2].split(":")[0] for line in errors] == [
        " commit 2 cannot be read",
        " commit 4 cannot be read",
    ]
    assert "PoolBlessed" in errors[0]


async def store(nc: NatsClient, realm: str, *payloads: bytes, after: int = 0) -> None:
    log = await JetStreamLog.create(nc, realm)
    for number, payload in enumerate(payloads):
        assert isinstance(await log.append(payload, after=after + number), Appended)
