"""Nothing acknowledged is lost: SIGKILL at random moments, under load, tens of times."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
from pathlib import Path

from support.load import Load, running
from support.node import IPLEDGER, Node

from ipledger.events.facts import PoolSpec

KILLS = 30
POOL = PoolSpec("pool", 0, "10.64.0.0/16", ips=("10.64.0.1-10.64.250.250",), default=True)


def test_sigkill_at_random_moments_under_load(node: Node) -> None:
    seed = int(os.environ.get("IPLEDGER_SEED") or random.SystemRandom().randrange(10**6))
    print(f"seed {seed}: run again with IPLEDGER_SEED={seed}")
    node.apply(POOL)
    chooser = random.Random(seed)
    load = Load([node])
    victims = {"nats-server": 0, "ipledger up": 0}
    for kill in range(KILLS):
        victim = chooser.choice(sorted(victims))
        victims[victim] += 1
        with running(load, seed * 1000 + kill):
            threading.Event().wait(chooser.uniform(0.05, 0.5))  # load for a random while
            if victim == "nats-server":
                os.kill(node.server_pid(), signal.SIGKILL)
            else:
                node.kill()
                node.start()
        load.check(node)
    print(f"{victims}, {len(load.held)} held, {len(load.gone)} released")
    assert load.held
    assert load.gone

    verified = node.ipledger("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_second_node_leaves_the_first_ones_socket_alone(node: Node, tmp_path: Path) -> None:
    node.apply(POOL)
    other = [IPLEDGER, "up", "--data", str(tmp_path / "other"), "--socket", str(node.socket)]
    other += ["--nats-port", "0", "--http", "0"]
    second = subprocess.run(other, capture_output=True, text=True, check=False, timeout=30)
    assert second.returncode == 1
    assert f"socket {node.socket} is in use by another agent" in second.stderr
    assert node.cni("ADD", "after").code == 0


def test_data_of_a_running_node_is_not_taken_by_another(node: Node) -> None:
    taken = [IPLEDGER, "up", "--data", str(node.root / "data"), "--nats-port", "0", "--http", "0"]
    second = subprocess.run(taken, capture_output=True, text=True, check=False, timeout=30)
    assert second.returncode == 1
    assert f"is in use by process {node.pid}" in second.stderr
