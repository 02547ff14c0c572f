"""Exactly as many pods as addresses, all at once, and one more."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from support.node import Node

from ipledger.events.facts import PoolSpec

DRIVER = Path(__file__).parents[2] / "bench" / "driver.c"
PODS = 1000


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("driver") / "driver"
    subprocess.run(["cc", "-O2", "-o", str(program), str(DRIVER)], check=True)
    return program


def test_a_thousand_pods_for_a_thousand_addresses_at_once(node: Node, driver: Path) -> None:
    node.apply(PoolSpec("big", 0, "10.63.0.0/16", ips=("10.63.0.1-10.63.3.232",), default=True))
    config = node.root / "config.json"
    config.write_text(json.dumps(node.config()))

    calls = [str(driver), str(node.shim), str(config), "pod-", "0", str(PODS), str(PODS)]
    environment = {**os.environ, "CNI_COMMAND": "ADD", "CNI_NETNS": "/x", "CNI_IFNAME": "eth0"}
    done = subprocess.run(calls, env=environment, capture_output=True, text=True, check=True)

    answers = [line.split(" ", 3) for line in done.stdout.splitlines()]
    assert [a for a in answers if a[2] != "0"] == []
    addresses = {json.loads(a[3])["ips"][0]["address"] for a in answers}
    assert len(addresses) == PODS

    one_more = node.cni("ADD", "one-more")
    assert (one_more.code, one_more.json["code"]) == (1, 100)
    message = one_more.json["msg"]
    assert "pool big is exhausted (1000 of 1000 addresses in use)" in message
    assert "big" in one_more.json["details"]
    assert len(node.allocations()) == PODS
