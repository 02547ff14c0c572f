"""Fixed addresses from end to end: manifests tell of a StatefulSet, the shim of its pods."""

from __future__ import annotations

import json
from typing import Any

from support.node import Node, Outcome

POOL = """\
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata: {name: pool}
spec: {subnet: 10.67.0.0/24, ips: [10.67.0.1-10.67.0.9], default: true}
"""
STATEFUL_SET = """\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: cart, namespace: shop, labels: {app: cart}}
spec:
  replicas: REPLICAS
  serviceName: cart
  selector: {matchLabels: {app: cart}}
  template: {metadata: {labels: {app: cart}}, spec: {containers: [{name: c, image: i}]}}
"""
OWNER = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "cart"}


def apply(node: Node, text: str) -> str:
    manifest = node.root / "manifest.yaml"
    manifest.write_text(text)
    done = node.ipledger("apply", "-f", str(manifest))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def call(node: Node, command: str, pod: str, uid: str) -> Outcome:
    config: dict[str, Any] = {**node.config(), "args": {"cni": {"owner": OWNER}}}
    args = f"IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME={pod};K8S_POD_UID={uid}"
    return node.cni(command, f"sandbox-{uid}", config, CNI_ARGS=args)


def test_a_stateful_set_keeps_its_addresses_until_it_shrinks(node: Node) -> None:
    assert apply(node, POOL) == "ippool/pool created"
    assert apply(node, STATEFUL_SET.replace("REPLICAS", "2")) == "statefulset/cart created"
    first = call(node, "ADD", "cart-0", "u1").addresses
    call(node, "ADD", "cart-1", "u2")
    for pod, uid in (("cart-0", "u1"), ("cart-1", "u2")):
        assert call(node, "DEL", pod, uid) == Outcome(0, "")

    pool = node.pools()["pool"]
    assert (pool.allocated, pool.held, pool.free) == (0, 2, 7)
    assert call(node, "ADD", "cart-0", "u3").addresses == first

    assert apply(node, STATEFUL_SET.replace("REPLICAS", "1")) == "statefulset/cart configured"
    pool = node.pools()["pool"]
    assert (pool.allocated, pool.held, pool.free) == (1, 0, 8)

    assert call(node, "DEL", "cart-0", "u3") == Outcome(0, "")
    gone = node.ipledger("delete", "statefulset", "cart", "-n", "shop")
    assert gone.stdout == "statefulset/cart deleted\n"
    assert json.loads(node.ipledger("get", "allocations", "-o", "json").stdout) == []
    assert node.ipledger("verify").returncode == 0
