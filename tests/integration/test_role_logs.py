"""What real processes write to their logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.node import IPLEDGER, Node
from support.program import Program, until

from ipledger.events.facts import PoolSpec
from ipledger.events.traceparent import trace_id

POOL = PoolSpec("pool", 4, "10.6.0.0/16", ips=("10.6.0.10-10.6.0.99",), default=True)
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
POD = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1;K8S_POD_UID=u1"
SECRET = "hunter2-hunter2"


def lines(log: Path) -> list[dict[str, Any]]:
    """The lines that are whole, and no others than JSON but `ready …`."""
    whole = log.read_text().rpartition("\n")[0].splitlines()
    return [json.loads(line) for line in whole if not line.startswith("ready ")]


def line(log: Path, message: str) -> dict[str, Any]:
    """The line with this message, once it was written."""
    return until(lambda: next((x for x in lines(log) if x["message"] == message), None), 30)


def test_a_decision_is_a_line_with_its_trace_and_position(node: Node) -> None:
    node.apply(POOL)
    assert node.cni("ADD", "s1", TRACEPARENT=TRACEPARENT, CNI_ARGS=POD).code == 0
    assert node.cni("ADD", "s2", node.config(default_ipv4_ippool=["nowhere"])).code == 1
    assert node.cni("DEL", "s1", TRACEPARENT=TRACEPARENT, CNI_ARGS=POD).code == 0

    applied = line(node.log, "apply-pool answered")
    assert {k: applied[k] for k in ("level", "name", "outcome")} == {
        "level": "info",
        "name": "pool",
        "outcome": "created",
    }
    added = line(node.log, "ADD answered")
    assert added.pop("duration_ms") > 0
    assert {k: v for k, v in added.items() if k not in ("time", "position")} == {
        "level": "info",
        "logger": "ipledger.cni.call",
        "message": "ADD answered",
        "command": "ADD",
        "pod": "shop/web-1",
        "sandbox": "s1",
        "interface": "eth0",
        "trace_id": trace_id(TRACEPARENT),
        "allocation": "a1",
        "addresses": "10.6.0.10/16",
    }
    refusal = "default_ipv4_ippool names pool 'nowhere', which does not exist"
    refused = line(node.log, f"ADD refused: {refusal}")
    assert (refused["level"], refused["reason"], refused["code"]) == ("warning", "PoolUnknown", 103)
    assert line(node.log, "DEL answered")["allocation"] == "a1"
    leading = line(node.log, "leading realm default in epoch 1")
    assert (leading["realm"], leading["epoch"]) == ("default", 1)
    assert not [x for x in lines(node.log) if x["message"].startswith("allocate ")]


def test_level_debug_has_the_engines_side_too(
    tmp_path: Path, shim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPLEDGER_LOG_LEVEL", "debug")
    node = Node(tmp_path, shim)
    node.start()
    node.apply(POOL)
    annotation = {"args": {"cni": {"annotations": {"password": SECRET}}}}
    assert node.cni("ADD", "s1", {**node.config(), **annotation}, CNI_ARGS=POD).code == 0
    decided = line(node.log, "allocate answered")
    asked = line(node.log, "ADD answered")
    assert node.stop() == 0
    for word in ("trace_id", "position", "allocation", "addresses", "pod", "sandbox"):
        assert decided[word] == asked[word]
    assert decided["node"] == "node-1"
    assert SECRET not in node.log.read_text()


def test_credentials_of_a_server_are_in_no_line(tmp_path: Path) -> None:
    command = [IPLEDGER, "agent", "--nats", f"nats://me:{SECRET}@127.0.0.1:9", "--node", "n1"]
    command += ["--socket", str(tmp_path / "a.sock"), "--data", str(tmp_path), "--http", "0"]
    agent = Program("agent", [*command, "--log-level", "debug"], tmp_path)
    agent.launch()
    until(lambda: any("NATS" in x["message"] for x in lines(agent.log)), 30)
    assert agent.stop() == 0
    assert SECRET not in agent.log.read_text()


def test_text_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    command = [IPLEDGER, "agent", "--nats", "nats://127.0.0.1:9", "--node", "n1", "--http", "0"]
    command += ["--socket", str(tmp_path / "a.sock"), "--data", str(tmp_path)]
    agent = Program("agent", [*command, "--log-format", "text"], tmp_path)
    agent.launch()
    try:
        agent.line(r"^\d{4}-\d\d-\d\d \S+ WARNING ipledger\.cli\.roles: agent: NATS: ")
    finally:
        agent.stop()
