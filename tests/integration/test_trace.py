"""Trace contexts and times of steps: from the runtime's call into the log, and out of it again."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from support.node import Node

from ipledger.events.clock import parse_time
from ipledger.events.facts import PoolSpec
from ipledger.events.traceparent import trace_id, valid

POOL = PoolSpec("pool", 4, "10.6.0.0/16", ips=("10.6.0.10-10.6.0.99",), default=True)
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
POD = {"CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1;K8S_POD_UID=u1"}


@pytest.fixture
def ready(node: Node) -> Node:
    node.apply(POOL)
    return node


def events(node: Node) -> list[dict[str, Any]]:
    return [json.loads(line) for line in node.ipledger("log", "-o", "jsonl").stdout.splitlines()]


def trace(node: Node) -> list[dict[str, Any]]:
    shown = node.ipledger("trace", "shop/web-1", "-o", "json")
    assert shown.returncode == 0, shown.stderr
    found: list[dict[str, Any]] = json.loads(shown.stdout)
    return found


def test_the_context_of_the_runtime_is_in_the_events_of_add_and_del(ready: Node) -> None:
    assert ready.cni("ADD", "s1", TRACEPARENT=TRACEPARENT, **POD).code == 0
    assert ready.cni("DEL", "s1", TRACEPARENT=TRACEPARENT, **POD).code == 0

    added, deleted = events(ready)[-2:]
    assert (added["type"], added["traceparent"]) == ("AddressesAllocated", TRACEPARENT)
    assert (deleted["type"], deleted["traceparent"]) == ("AddressesReleased", TRACEPARENT)


@pytest.mark.parametrize("told", [None, "", "00-zz-1", f"00-{'0' * 32}-00f067aa0ba902b7-01"])
def test_the_agent_makes_a_context_where_none_can_be_read(ready: Node, told: str | None) -> None:
    assert ready.cni("ADD", "s1", TRACEPARENT=told, **POD).code == 0
    assert ready.cni("ADD", "s2", TRACEPARENT=told).code == 0

    first, second = (event["traceparent"] for event in events(ready)[-2:])
    assert valid(first)
    assert first.endswith("-00"), "nobody was asked to keep its spans"
    assert trace_id(first) != trace_id(second)


def test_the_steps_lie_between_the_call_and_its_answer(ready: Node) -> None:
    before = time.time_ns() // 1000
    assert ready.cni("ADD", "s1", **POD).code == 0
    after = time.time_ns() // 1000

    steps = events(ready)[-1]["steps"]
    assert list(steps) == ["shim", "agent", "sent", "received", "engine"]
    times = [before, *steps.values(), after]
    assert times == sorted(times)


def test_a_trace_has_every_step_once_there_is_a_commit_behind(ready: Node) -> None:
    assert ready.cni("ADD", "s1", TRACEPARENT=TRACEPARENT, **POD).code == 0
    assert [step["step"] for step in trace(ready)[0]["steps"]][-1] == "decide"
    assert ready.cni("ADD", "s2").code == 0

    (traced,) = trace(ready)
    assert traced["traceId"] == trace_id(TRACEPARENT)
    assert [step["step"] for step in traced["steps"]] == [
        *("shim", "agent", "nats", "queue", "decide", "commit", "answer")
    ]
    assert all(step["tookMicros"] >= 0 for step in traced["steps"][:-1])
    assert traced["steps"][-2]["tookMicros"] > 0, "a commit is synced to disk"
    assert parse_time(traced["time"]) > 0


def test_a_refused_add_has_a_trace(ready: Node) -> None:
    config = ready.config(default_ipv4_ippool=["nowhere"])
    assert ready.cni("ADD", "s1", config, **POD).json["code"] == 103

    (traced,) = trace(ready)
    assert (traced["event"], traced["reason"]) == ("AllocationRefused", "PoolUnknown")
    assert [step["step"] for step in traced["steps"]][:3] == ["shim", "agent", "nats"]
