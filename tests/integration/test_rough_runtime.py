"""Runtimes are rough (DESIGN section 7): no leak, and no live address freed, through the shim."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from support.node import Node, Outcome

from ipledger.engine.client import EngineClient
from ipledger.events.facts import PoolSpec

POOL = PoolSpec("pool", 0, "10.62.0.0/24", ips=("10.62.0.1-10.62.0.4",), default=True)
POD = "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart;K8S_POD_UID=uid-1;IgnoreUnknown=1"


@pytest.fixture(autouse=True)
def _pool(node: Node) -> None:
    node.apply(POOL)


def position(node: Node) -> str:
    return node.ask(EngineClient.status).position


def test_an_add_overtaken_by_its_del_is_refused(node: Node) -> None:
    assert node.cni("DEL", "sandbox-1", CNI_NETNS="") == Outcome(0, "")
    late = node.cni("ADD", "sandbox-1")
    assert (late.code, late.json["code"]) == (1, 104)
    assert "sandbox-1" in late.json["msg"]
    assert node.allocations() == []


def test_the_fence_holds_after_sigkill_of_everything(node: Node) -> None:
    node.cni("DEL", "sandbox-1")
    node.kill()
    node.start()
    assert node.cni("ADD", "sandbox-1").json["code"] == 104
    assert node.allocations() == []


def test_adds_and_dels_of_one_sandbox_at_once_never_leak(node: Node) -> None:
    with ThreadPoolExecutor(8) as runtime:
        for round_number in range(10):
            sandbox = f"sandbox-{round_number}"
            calls = [runtime.submit(node.cni, c, sandbox) for c in ("ADD", "DEL", "ADD", "DEL")]
            outcomes = [call.result() for call in calls]
            assert [o.code for o in outcomes[1::2]] == [0, 0]
    assert node.allocations() == []


def test_five_dels_and_an_empty_netns_free_once(node: Node) -> None:
    first = node.cni("ADD", "sandbox-1")
    assert first.code == 0
    with_result = {**node.config(), "prevResult": first.json}
    assert node.cni("DEL", "sandbox-1", with_result) == Outcome(0, "")
    after_one = position(node)
    for _ in range(4):
        assert node.cni("DEL", "sandbox-1", CNI_NETNS="") == Outcome(0, "")
    assert position(node) == after_one
    assert node.allocations() == []


def test_a_del_for_a_sandbox_never_seen_succeeds_and_is_recorded_once(node: Node) -> None:
    kept = node.cni("ADD", "sandbox-1").addresses
    for _ in range(3):
        assert node.cni("DEL", "stranger", CNI_NETNS=None) == Outcome(0, "")
    assert node.cni("ADD", "sandbox-1").addresses == kept
    events = node.ipledger("log", "-o", "jsonl").stdout
    assert events.count("AttachmentDeleted") == 1


def test_a_late_del_of_the_old_sandbox_leaves_the_new_one_alone(node: Node) -> None:
    before = node.cni("ADD", "sandbox-1", CNI_ARGS=POD).addresses
    assert node.cni("ADD", "sandbox-2", CNI_ARGS=POD).addresses == before
    for _ in range(2):
        assert node.cni("DEL", "sandbox-1", CNI_ARGS=POD, CNI_NETNS="") == Outcome(0, "")
    assert [(a.sandbox, a.uid) for a in node.allocations()] == [("sandbox-2", "uid-1")]
    assert node.cni("ADD", "sandbox-1", CNI_ARGS=POD).json["code"] == 104
    assert node.cni("DEL", "sandbox-2", CNI_ARGS=POD) == Outcome(0, "")
    assert node.allocations() == []


def test_a_repeated_add_returns_the_same_and_writes_nothing(node: Node) -> None:
    first = node.cni("ADD", "sandbox-1", CNI_ARGS=POD)
    written = position(node)
    assert node.cni("ADD", "sandbox-1", CNI_ARGS=POD) == first
    assert position(node) == written


def test_each_retry_of_a_refused_pod_writes_nothing_more(node: Node) -> None:
    for number in range(4):
        assert node.cni("ADD", f"full-{number}").code == 0
    assert node.cni("ADD", "retry-0", CNI_ARGS=POD).json["code"] == 100
    assert node.cni("DEL", "retry-0", CNI_ARGS=POD) == Outcome(0, "")
    written = position(node)
    for number in range(1, 4):
        sandbox = f"retry-{number}"
        assert node.cni("ADD", sandbox, CNI_ARGS=POD).json["code"] == 100
        assert node.cni("DEL", sandbox, CNI_ARGS=POD) == Outcome(0, "")
    assert position(node) == written
    assert node.cni("ADD", "retry-1", CNI_ARGS=POD).json["code"] == 104


def test_a_pod_gets_its_own_last_address_back(node: Node) -> None:
    own = node.cni("ADD", "sandbox-1", CNI_ARGS=POD).addresses
    node.cni("DEL", "sandbox-1", CNI_ARGS=POD)
    assert node.cni("ADD", "other").addresses != own
    assert node.cni("ADD", "sandbox-2", CNI_ARGS=POD).addresses == own
