"""The control plane away: no address without a commit, and no pod pinned by a DEL."""

from __future__ import annotations

import os
import signal
import urllib.error
import urllib.request
from pathlib import Path

from support.node import Node, Outcome
from support.program import until

from ipledger.events.facts import PoolSpec

POOL = PoolSpec("pool", 0, "10.66.0.0/24", ips=("10.66.0.1-10.66.0.9",), default=True)


def healthy(node: Node) -> bool:
    try:
        with urllib.request.urlopen(f"{node.http_url}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        error.close()
        return False


def test_no_agent_is_cni_error_11_at_once(tmp_path: Path, shim: Path) -> None:
    outcome = Node(tmp_path, shim).cni("ADD", "sandbox")
    assert (outcome.code, outcome.json["code"]) == (1, 11)
    assert str(tmp_path / "agent.sock") in outcome.json["msg"]


def test_a_del_while_the_server_is_stopped_succeeds_and_is_carried_out_later(node: Node) -> None:
    node.apply(POOL)
    assert node.cni("ADD", "sandbox").code == 0
    server = node.server_pid()
    os.kill(server, signal.SIGSTOP)
    try:
        assert node.cni("DEL", "sandbox") == Outcome(0, "")
    finally:
        os.kill(server, signal.SIGCONT)
    assert until(lambda: node.allocations() == [], 60)


def test_a_stored_del_outlives_sigkill(node: Node) -> None:
    node.apply(POOL)
    assert node.cni("ADD", "sandbox").code == 0
    os.kill(node.server_pid(), signal.SIGSTOP)
    assert node.cni("DEL", "sandbox") == Outcome(0, "")
    node.kill()
    node.start()
    assert until(lambda: node.allocations() == [], 60)


def test_health_and_metrics_are_served_beside(node: Node) -> None:
    node.apply(POOL)
    assert node.cni("ADD", "sandbox").code == 0
    assert healthy(node)
    with urllib.request.urlopen(f"{node.http_url}/metrics", timeout=5) as answer:
        metrics = answer.read().decode()
    assert 'ipledger_cni_requests_total{code="0",command="ADD",realm="default"} 1.0' in metrics


def test_the_socket_is_for_root_only(node: Node) -> None:
    assert node.socket.stat().st_mode & 0o777 == 0o600
