"""What of a Spiderpool contradicts itself: each disagreement is told, with both sides."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from ipledger.engine.commands import ApplyPool, ImportAllocation
from ipledger.events.facts import Address, Owner, Route
from ipledger.kube.disagreements import Contradiction
from ipledger.kube.rehearsal import rehearse
from ipledger.kube.spiderpool import Spiderpool
from ipledger.kube.takeover import Plan, plan
from ipledger.projections.cluster.pods import Pod
from ipledger.projections.cluster.spiderpool import SpiderEndpoint, SpiderIPPool
from ipledger.projections.cluster.workloads import Replicated
from ipledger.projections.fold import Fold

ETH0 = {"interface": "eth0", "ipv4": "10.1.0.10/24", "ipv4Pool": "a"}
SPEC = {"subnet": "10.1.0.0/24", "ips": ["10.1.0.10-10.1.0.19"]}
RECORD = {"10.1.0.10": {"pod": "shop/web-0", "podUid": "u"}}


def pool(records: object = RECORD, **metadata: Any) -> SpiderIPPool:
    text = records if isinstance(records, str) else json.dumps(records)
    body = {"metadata": {"name": "a", **metadata}, "spec": SPEC, "status": {"allocatedIPs": text}}
    return msgspec.json.decode(json.dumps(body), type=SpiderIPPool)


def pod(*ips: str, uid: str = "u", name: str = "web-0", **more: Any) -> Pod:
    metadata = {"name": name, "namespace": "shop", "uid": uid, **more.pop("metadata", {})}
    spec = {"nodeName": "n1", **more.pop("spec", {})}
    status = {"phase": "Running", "podIPs": [{"ip": ip} for ip in ips], **more.pop("status", {})}
    return msgspec.convert({"metadata": metadata, "spec": spec, "status": status}, Pod)


def endpoint(
    *ips: dict[str, Any], uid: str = "u", name: str = "web-0", owner: tuple[str, str] = ("Pod", "")
) -> SpiderEndpoint:
    status = {
        "current": {"uid": uid, "node": "n1", "ips": list(ips)},
        "ownerControllerType": owner[0],
        "ownerControllerName": owner[1],
    }
    metadata = {"name": name, "namespace": "shop"}
    return msgspec.convert({"metadata": metadata, "status": status}, SpiderEndpoint)


def cluster(
    pools: list[SpiderIPPool] | None = None,
    pods: list[Pod] | None = None,
    endpoints: list[SpiderEndpoint] | None = None,
    **more: Any,
) -> Plan:
    return plan(
        Spiderpool(
            pools=[pool()] if pools is None else pools,
            pods=[pod("10.1.0.10")] if pods is None else pods,
            endpoints=[endpoint(ETH0)] if endpoints is None else endpoints,
            **more,
        )
    )


def test_what_agrees_is_taken_over_whole() -> None:
    made = cluster()
    assert made.contradictions == []
    assert [resource.name for resource in made.resources] == ["a"]
    [command] = made.allocations
    assert command.addresses == (Address("a", "10.1.0.10/24", ""),)
    assert (command.node, command.interface, command.pod.uid, command.held, command.slot) == (
        "n1",
        "eth0",
        "u",
        False,
        -1,
    )


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            cluster(pools=[pool({})]),
            Contradiction(
                "address 10.1.0.10 of pool a",
                "SpiderEndpoint shop/web-0: pod UID u interface eth0",
                "SpiderIPPool a has no record of it",
            ),
        ),
        (
            cluster(pools=[pool({"10.1.0.10": {"pod": "shop/web-9", "podUid": "u9"}})]),
            Contradiction(
                "address 10.1.0.10 of pool a",
                "SpiderIPPool a: pod shop/web-9 (u9)",
                "SpiderEndpoint shop/web-0: pod UID u interface eth0",
            ),
        ),
        (
            cluster(pools=[pool({**RECORD, "10.1.0.15": {"pod": "shop/x", "podUid": "gone"}})]),
            Contradiction(
                "address 10.1.0.15 of pool a",
                "SpiderIPPool a: pod shop/x (gone)",
                "no SpiderEndpoint has it",
                leftover=True,
            ),
        ),
        (
            cluster(pools=[pool({**RECORD, "10.1.0.15": {"pod": "shop/web-0", "podUid": "u"}})]),
            Contradiction(
                "address 10.1.0.15 of pool a",
                "SpiderIPPool a: pod shop/web-0 (u)",
                "no SpiderEndpoint has it",
            ),
        ),
        (
            cluster(pods=[pod("10.1.0.99")]),
            Contradiction(
                "SpiderEndpoint shop/web-0", "eth0 has 10.1.0.10", "pod shop/web-0 has 10.1.0.99"
            ),
        ),
        (
            cluster(pods=[pod("10.1.0.10", spec={"nodeName": "n2"})]),
            Contradiction(
                "SpiderEndpoint shop/web-0", "on node n1", "pod shop/web-0 is on node n2"
            ),
        ),
        (
            cluster(pods=[]),
            Contradiction(
                "SpiderEndpoint shop/web-0",
                "pod UID u has 10.1.0.10",
                "no pod has that UID",
                leftover=True,
            ),
        ),
        (
            cluster(pods=[pod("10.1.0.10", uid="v")]),
            Contradiction(
                "SpiderEndpoint shop/web-0", "pod UID u has 10.1.0.10", "no pod has that UID"
            ),
        ),
        (
            cluster(pods=[pod("10.1.0.10"), pod("10.1.0.12", uid="w", name="stray")]),
            Contradiction(
                "address 10.1.0.12 of pool a",
                "pod shop/stray has it",
                "no SpiderEndpoint has it",
            ),
        ),
        (
            cluster(
                pods=[pod("10.1.0.10"), pod(uid="w", name="web-1")],
                endpoints=[endpoint(ETH0), endpoint(ETH0, uid="w", name="web-1")],
            ),
            Contradiction(
                "address 10.1.0.10 of pool a",
                "SpiderEndpoint shop/web-0: pod UID u interface eth0",
                "SpiderEndpoint shop/web-1: pod UID w interface eth0",
            ),
        ),
        (
            cluster(endpoints=[endpoint({**ETH0, "interface": ""})]),
            Contradiction(
                "SpiderEndpoint shop/web-0",
                "has 10.1.0.10/24",
                "no interface has asked for it yet",
            ),
        ),
        (
            cluster(endpoints=[endpoint({**ETH0, "ipv4Pool": None})]),
            Contradiction(
                "SpiderEndpoint shop/web-0", "interface eth0 has 10.1.0.10/24", "of no pool"
            ),
        ),
        (
            cluster(pools=[pool("nonsense")]),
            Contradiction(
                "SpiderIPPool a",
                "status.allocatedIPs cannot be read: JSON is malformed: invalid character (byte 4)",
                "it is JSON",
            ),
        ),
        (
            cluster(
                pools=[pool(labels={"ipam.spidernet.io/owner-application-name": "web"})],
            ),
            Contradiction(
                "SpiderIPPool a",
                "an auto pool",
                "label ipam.spidernet.io/owner-spider-subnet is missing",
            ),
        ),
        (
            cluster(unreadable=["Pod shop/strange"]),
            Contradiction("Pod shop/strange", "exists", "unreadable"),
        ),
    ],
)
def test_a_disagreement_is_told_with_both_sides(made: Plan, said: Contradiction) -> None:
    assert said in made.contradictions


@pytest.mark.parametrize(
    "other",
    [
        pod("10.1.0.15", uid="w", name="done", status={"phase": "Succeeded"}),
        pod("10.1.0.15", uid="w", name="host", spec={"hostNetwork": True}),
        pod("192.0.2.7", uid="w", name="calico"),
        pod(uid="w", name="starting"),
    ],
    ids=lambda pod: pod.metadata.name,
)
def test_a_pod_that_uses_no_address_of_a_pool_is_nobodys_concern(other: Pod) -> None:
    assert cluster(pods=[pod("10.1.0.10"), other]).contradictions == []


def stateful_set(replicas: int) -> Replicated:
    metadata = {"name": "cart", "namespace": "shop", "uid": "s"}
    return msgspec.convert({"metadata": metadata, "spec": {"replicas": replicas}}, Replicated)


def between_pods(replicas: int) -> Plan:
    return cluster(
        pools=[pool({"10.1.0.10": {"pod": "shop/cart-1", "podUid": "u"}})],
        pods=[],
        endpoints=[endpoint(ETH0, name="cart-1", owner=("StatefulSet", "cart"))],
        stateful_sets=[stateful_set(replicas)],
    )


def test_what_waits_for_the_next_pod_of_a_stateful_set_is_held() -> None:
    made = between_pods(2)
    assert made.contradictions == []
    assert [command.held for command in made.allocations] == [True]
    assert made.allocations[0].owner == Owner("apps/v1", "StatefulSet", "cart")
    assert [resource.name for resource in made.resources] == ["a", "shop/cart"]


def test_what_waits_for_a_pod_that_will_not_come_is_a_leftover() -> None:
    made = between_pods(1)
    assert [contradiction.leftover for contradiction in made.contradictions] == [True]
    assert made.allocations == []


def allocation(**metadata: Any) -> ImportAllocation:
    made = cluster(pods=[pod("10.1.0.10", metadata=metadata)])
    assert made.contradictions == []
    return made.allocations[0]


def test_the_direct_owner_of_a_pod_is_known_whole() -> None:
    reference = {"apiVersion": "x.io/v1", "kind": "Set", "name": "s", "uid": "9"}
    made = cluster(
        pods=[pod("10.1.0.10", metadata={"ownerReferences": [{**reference, "controller": True}]})],
        endpoints=[endpoint(ETH0, owner=("Set", "s"))],
    )
    assert made.allocations[0].owner == Owner("x.io/v1", "Set", "s", "9")


def test_routes_and_the_claimed_item_of_a_pod_come_from_its_annotations() -> None:
    command = allocation(
        annotations={
            "ipam.spidernet.io/routes": '[{"dst":"10.9.0.0/16","gw":"10.1.0.2"}]',
            "ipam.spidernet.io/ippools": '[{"ipv4":["a"]}]',
        }
    )
    assert command.routes == (Route("10.9.0.0/16", "10.1.0.2"),)
    assert command.slot == 0


def test_a_static_pod_is_known_by_the_uid_that_its_runtime_has() -> None:
    mirror = {"annotations": {"kubernetes.io/config.mirror": "file"}}
    made = cluster(pods=[pod("10.1.0.10", metadata=mirror)])
    assert [command.pod.uid for command in made.allocations] == ["file"]


def test_the_rehearsal_tells_what_the_engine_would_refuse() -> None:
    outside = {**ETH0, "ipv4": "10.1.0.77/24"}
    made = cluster(
        pools=[pool({"10.1.0.77": {"pod": "shop/web-0", "podUid": "u"}})],
        pods=[pod("10.1.0.77")],
        endpoints=[endpoint(outside)],
    )
    assert made.contradictions == []
    steps, refused = rehearse(Fold(), made)
    assert [step.outcome for step in steps] == ["created"]
    assert [one.about for one in refused] == ["SpiderEndpoint shop/web-0"]
    assert "10.1.0.77/24' is not an address of pool 'a'" in refused[0].other


def test_the_allocations_of_a_pool_that_is_not_there_are_counted() -> None:
    made = cluster(pools=[])
    steps, against = rehearse(Fold(), made)
    assert not steps
    assert made.contradictions == against[:-1]
    assert against[-1] == Contradiction(
        "SpiderIPPool a", "1 allocations are in it", "there is no such pool"
    )


def test_the_resources_are_commands_as_of_manifests() -> None:
    [resource] = cluster().resources
    assert isinstance(resource.command, ApplyPool)
    assert resource.command.pool.ips == ("10.1.0.10-10.1.0.19",)
