"""What the controller makes of the log: statuses, conditions, objects of auto pools, workloads."""

from __future__ import annotations

import json

import msgspec
import pytest
from support.desk import Desk, serving
from support.text import command

from ipledger.engine.refusals import Reason, Refusal
from ipledger.events.facts import AutoPool, Owner, PoolSpec
from ipledger.events.log import Entry
from ipledger.events.position import Position
from ipledger.events.types import AnyEvent
from ipledger.kube import status
from ipledger.kube.application_controller import application_of
from ipledger.kube.auto_objects import body_of, made_at
from ipledger.kube.touched import touched
from ipledger.projections.cluster import kinds
from ipledger.projections.cluster.kinds import Kind
from ipledger.projections.cluster.spiderpool import Condition, Resource
from ipledger.projections.cluster.workloads import Workload
from ipledger.projections.fold import Fold
from ipledger.projections.state import State

ASKS = {"ipam.spidernet.io/subnet": '{"ipv4":["s"]}'}


async def test_a_held_address_is_shown_with_the_pod_that_had_it() -> None:
    async with serving(Desk()) as d:
        for text in (
            "pool a 10.1.0.0/24 ips=10.1.0.1-10.1.0.9",
            "application apps/v1/StatefulSet/cart replicas=1",
            "ADD cart-0 owner=apps/v1/StatefulSet/cart v4=a",
            "DEL cart-0-sandbox",
        ):
            await d.ask(command(text))
        told = status.pool_status(d.fold.state, "a")
    assert told["allocatedIPCount"] == 1
    [(ip, holder)] = json.loads(told["allocatedIPs"]).items()
    assert (ip, holder["pod"]) == ("10.1.0.1", "ns/cart-0")


async def test_a_status_that_would_be_too_large_is_cut_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(status, "STATUS_BYTES_MAX", 120)
    async with serving(Desk()) as d:
        await d.ask(command("pool a 10.1.0.0/24 ips=10.1.0.1-10.1.0.9"))
        for number in range(5):
            await d.ask(command(f"ADD p{number} v4=a"))
        told = status.pool_status(d.fold.state, "a")
    [cut] = status.cut_condition(told)
    shown = json.loads(told["allocatedIPs"])
    assert len(told["allocatedIPs"]) <= 120
    assert told["allocatedIPCount"] == 5
    assert f"leaves out {5 - len(shown)} entries" in cut.message
    assert list(shown) == [f"10.1.0.{number}" for number in range(1, len(shown) + 1)]


async def test_a_count_is_what_int64_can_hold() -> None:
    async with serving(Desk()) as d:
        await d.ask(command("pool a fd00::/64 ips=fd00::-fd00::ffff:ffff:ffff:ffff"))
        assert status.pool_status(d.fold.state, "a")["totalIPCount"] == 2**63 - 1


async def test_each_event_touches_what_it_changes() -> None:
    async with serving(Desk()) as d:
        for text in (
            "subnet s 10.1.0.0/24 ips=10.1.0.1-10.1.0.9",
            "pool a 10.1.0.0/24 ips=10.1.0.1-10.1.0.9",
            "ADD p v4=a",
            "ADD p sandbox=p-2 v4=a",
            "DEL p-2",
            "reserve r 10.1.0.3",
            "delete a",
        ):
            await d.ask(command(text))
    seen: list[tuple[str, list[str]]] = []

    def tell(state: State, event: AnyEvent) -> None:
        seen.append((type(event).__name__, sorted(name for _, name in touched(state, event))))

    fold = Fold()
    fold.before_event = tell
    for sequence, payload in enumerate(d.log.payloads, 1):
        fold.apply(Entry(sequence, payload))
    assert seen == [
        ("LeadershipTaken", []),
        ("SubnetCreated", ["s"]),
        ("PoolCreated", ["a", "s"]),
        ("AddressesAllocated", ["a"]),
        ("AllocationRebound", ["a"]),
        ("AddressesReleased", ["a"]),
        ("ReservationCreated", ["r"]),
        ("PoolDeleted", ["a", "s"]),
    ]


def test_a_condition_keeps_the_time_of_its_status() -> None:
    refusal = Refusal(Reason.POOL_OVERLAP, "spec.ips: it overlaps", "spec.ips", "x")
    [first] = status.conditions((status.accepted(refusal),), (), 1, "T1")
    other = Refusal(Reason.POOL_OVERLAP, "spec.ips: another overlap", "spec.ips", "y")
    [second] = status.conditions((status.accepted(other),), (first,), 2, "T2")
    [third] = status.conditions((status.accepted(None),), (second,), 3, "T3")
    assert (first.last_transition_time, second.last_transition_time) == ("T1", "T1")
    assert (second.message, second.observed_generation) == ("spec.ips: another overlap", 2)
    assert third == Condition("Accepted", "True", "Applied", "the log has it", "T3", 3)


def auto_pool(application: str) -> PoolSpec:
    owner = Owner("apps/v1", "Deployment", application, "u-1")
    auto = AutoPool("s", "shop", owner, "eth0", "+1")
    return PoolSpec("auto4-x", 4, "10.1.0.0/24", ips=("10.1.0.1",), auto=auto)


def test_the_object_of_an_auto_pool_reads_as_what_it_was_made_for() -> None:
    body = body_of(auto_pool("web"), Position(7, 2))
    found = msgspec.json.decode(msgspec.json.encode(body), type=Resource)
    assert made_at(found) == Position(7, 2)
    assert json.loads(bytes(found.spec)) == {
        "ipVersion": 4,
        "subnet": "10.1.0.0/24",
        "ips": ["10.1.0.1"],
    }
    assert found.metadata.labels["ipam.spidernet.io/owner-application-gv"] == "apps_v1"


def test_what_is_too_long_for_a_label_is_no_label() -> None:
    labels = body_of(auto_pool("w" * 64), Position(7, 2))["metadata"]["labels"]
    assert "ipam.spidernet.io/owner-application-name" not in labels
    assert labels["ipam.spidernet.io/owner-application-kind"] == "Deployment"


@pytest.mark.parametrize(
    ("kind", "annotations", "is_controlled", "matters"),
    [
        (kinds.STATEFUL_SETS, {}, False, True),
        (kinds.MACHINES, {}, False, True),
        (kinds.DEPLOYMENTS, {}, False, False),
        (kinds.DEPLOYMENTS, ASKS, False, True),
        (kinds.DAEMON_SETS, ASKS, False, True),
        (kinds.REPLICA_SETS, ASKS, False, True),
        (kinds.REPLICA_SETS, ASKS, True, False),
        (kinds.JOBS, ASKS, True, False),
        (kinds.STATEFUL_SETS, {}, True, True),
    ],
)
def test_workloads_matter_whose_pods_keep_addresses_or_ask_for_auto_pools(
    kind: Kind[Workload], annotations: dict[str, str], is_controlled: bool, matters: bool
) -> None:
    owner = {"apiVersion": "x/v1", "kind": "X", "name": "x", "uid": "u", "controller": True}
    metadata = {"name": "w", "namespace": "shop", "uid": "u1"}
    owners = {"ownerReferences": [owner] if is_controlled else []}
    body = {
        "metadata": {**metadata, **owners},
        "spec": {"template": {"metadata": {"annotations": annotations}}},
    }
    found = msgspec.json.decode(msgspec.json.encode(body), type=kind.shape)
    assert (application_of(kind, found) is not None) == matters
