"""Nothing acknowledged is lost: SIGKILL at random moments, under load, tens of times."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.node import IPLEDGER, Node, until

from ipledger.events.facts import PoolSpec

KILLS = 30
WORKERS = 6
POOL = PoolSpec("pool", 0, "10.64.0.0/16", ips=("10.64.0.1-10.64.250.250",), default=True)


@dataclass
class Load:
    """Pods that come and go through the shim, and what the runtime was told about each.

    `held` are those whose ADD was answered and whose DEL was not asked; `ending` those whose DEL
    was asked: it may or may not have happened until it is answered.
    """

    node: Node
    held: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    ending: set[str] = field(default_factory=set[str])
    gone: set[str] = field(default_factory=set[str])

    def run(self, worker: int, seed: int, stop: threading.Event) -> None:
        choose = random.Random(f"{seed}-{worker}")
        mine: list[str] = []
        number = 0
        while not stop.is_set():
            if mine and choose.random() < 0.4:
                self._delete(mine.pop(choose.randrange(len(mine))))
            else:
                sandbox = f"s{seed}-{worker}-{number}"
                number += 1
                if self._add(sandbox):
                    mine.append(sandbox)

    def _add(self, sandbox: str) -> bool:
        outcome = self.node.cni("ADD", sandbox)
        if outcome.code == 0:
            self.held[sandbox] = outcome.addresses
        return outcome.code == 0

    def _delete(self, sandbox: str) -> None:
        self.ending.add(sandbox)
        addresses = self.held.pop(sandbox)
        if self.node.cni("DEL", sandbox).code == 0:
            self.ending.discard(sandbox)
            self.gone.add(sandbox)
        else:
            assert addresses


@contextmanager
def running(load: Load, seed: int) -> Generator[None]:
    stop = threading.Event()
    with ThreadPoolExecutor(WORKERS) as workers:
        futures = [workers.submit(load.run, worker, seed, stop) for worker in range(WORKERS)]
        try:
            yield
        finally:
            stop.set()
    for future in futures:
        future.result()


def check(node: Node, load: Load) -> None:
    """Every answered ADD is held, every answered DEL is carried out, nothing is doubled."""

    def deletions_have_arrived() -> bool:
        return not load.gone & {row.sandbox for row in node.allocations()}

    assert until(deletions_have_arrived, 30)
    rows = node.allocations()
    found = {row.sandbox: [a.address for a in row.addresses] for row in rows}
    lost = {s: a for s, a in load.held.items() if found.get(s) != a}
    assert lost == {}
    addresses = [address for held in found.values() for address in held]
    assert len(addresses) == len(set(addresses))


def test_sigkill_at_random_moments_under_load(node: Node) -> None:
    seed = int(os.environ.get("IPLEDGER_SEED") or random.SystemRandom().randrange(10**6))
    print(f"seed {seed}: run again with IPLEDGER_SEED={seed}")
    node.apply(POOL)
    chooser = random.Random(seed)
    load = Load(node)
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
        check(node, load)
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
