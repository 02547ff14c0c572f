"""What the runtime says about a pod reaches the engine by way of the real shim and agent."""

from __future__ import annotations

import json
from typing import Any

from support.node import Node

from ipledger.events.facts import PoolSpec

SILVER = PoolSpec("silver", 0, "10.66.0.0/24", ips=("10.66.0.1-10.66.0.9",), default=True)
GOLD = PoolSpec("gold", 0, "10.67.0.0/24", ips=("10.67.0.1-10.67.0.9",))
SUBNET = """
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderSubnet
metadata: {name: blue}
spec: {subnet: 10.68.0.0/16, ips: [10.68.0.10-10.68.0.99]}
"""
WANTS_GOLD = {"ipam.spidernet.io/ippool": json.dumps({"ipv4": ["gold"]})}


def configured(node: Node, annotations: Any, /, **args: Any) -> dict[str, Any]:
    runtime = {"io.kubernetes.cri.pod-annotations": annotations}
    return {**node.config(), "runtimeConfig": runtime, "args": {"cni": args}}


def test_pod_annotations_from_the_runtime_select_the_pool(node: Node) -> None:
    node.apply(SILVER, GOLD)
    assert node.cni("ADD", "plain", configured(node, None)).addresses == ["10.66.0.1/24"]
    chosen = node.cni("ADD", "special", configured(node, WANTS_GOLD))
    assert chosen.addresses == ["10.67.0.1/24"]


def test_pod_annotations_from_args_select_the_pool(node: Node) -> None:
    node.apply(SILVER, GOLD)
    pairs = [{"key": key, "value": value} for key, value in WANTS_GOLD.items()]
    config = configured(node, {}, annotations=pairs)
    assert node.cni("ADD", "special", config).addresses == ["10.67.0.1/24"]


def test_large_annotations_of_others_cost_no_pod_its_address(node: Node) -> None:
    node.apply(SILVER, GOLD)
    large = {"kubectl.kubernetes.io/last-applied-configuration": "x" * 250_000, **WANTS_GOLD}
    assert node.cni("ADD", "large", configured(node, large)).addresses == ["10.67.0.1/24"]


def test_the_owner_is_recorded_with_the_allocation(node: Node) -> None:
    node.apply(SILVER)
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "u9"}
    assert node.cni("ADD", "owned", configured(node, None, owner=owner)).code == 0
    exported = node.ipledger("log", "--output", "jsonl")
    assert owner in [json.loads(line).get("owner") for line in exported.stdout.splitlines()]


def test_a_wrong_annotation_is_refused_by_field_and_value_and_its_del_succeeds(node: Node) -> None:
    node.apply(SILVER)
    config = configured(node, {"ipledger.io/static-ip": 7})
    refused = node.cni("ADD", "wrong", config)
    assert (refused.code, refused.json["code"]) == (1, 7)
    assert 'pod-annotations["ipledger.io/static-ip"]: 7 is not' in refused.json["msg"]
    assert node.cni("DEL", "wrong", config).code == 0
    assert node.allocations() == []


def test_an_annotation_nested_too_deeply_is_refused_and_the_engine_goes_on(node: Node) -> None:
    node.apply(SILVER)
    deep = f'{{"x":{"[" * 50_000 + "]" * 50_000}}}'
    refused = node.cni("ADD", "deep", configured(node, {"ipam.spidernet.io/ippool": deep}))
    assert (refused.code, refused.json["code"]) == (1, 107)
    assert node.cni("ADD", "plain").addresses == ["10.66.0.1/24"]


def test_an_auto_pool_is_made_by_the_add_and_goes_with_its_application(node: Node) -> None:
    (node.root / "subnet.yaml").write_text(SUBNET)
    assert node.ipledger("apply", "-f", str(node.root / "subnet.yaml")).returncode == 0
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "1-2-abcdef"}
    wants = {"ipam.spidernet.io/subnet": json.dumps({"ipv4": ["blue"]})}
    config = configured(node, wants, owner=owner, replicas=2)
    assert node.cni("ADD", "one", config).addresses == ["10.68.0.10/16"]
    assert node.cni("ADD", "two", config).addresses == ["10.68.0.11/16"]
    [pool] = node.pools().values()
    assert (pool.name, pool.total, pool.free) == ("auto4-web-eth0-abcde", 3, 1)

    assert node.ipledger("delete", "deployment", "web", "-n", "").returncode == 0
    assert node.cni("DEL", "one", config).code == 0
    assert [pool.terminating for pool in node.pools().values()] == [True]
    assert node.cni("DEL", "two", config).code == 0
    assert node.pools() == {}
    assert node.ipledger("verify").returncode == 0
