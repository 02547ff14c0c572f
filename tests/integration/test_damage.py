"""A stream that is damaged or lost: found and named, restored from the second copy, gone on with.

The damage is done to the files of a real nats-server, or to its stream, as a broken disk or a
wrong command does it. What nats-server 2.15 makes of a damaged block differs: it leaves out a
message, or drops everything behind it, or answers that it does not exist.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from support.node import IPLEDGER, Node
from support.program import until

from ipledger.events.facts import PoolSpec
from ipledger.events.jetstream import stream_config

POOL = PoolSpec("pool", 0, "10.64.0.0/24", ips=("10.64.0.1-10.64.0.250",), default=True)
PODS = 40
COMMITS = PODS + 2
"""One for the pool, one for each pod, one for the engine's first term."""
EXIT_DIFFERENCE = 3


@pytest.fixture
def node(tmp_path: Path, shim: Path) -> Iterator[Node]:
    """A node with pods, whose second copy has everything."""
    node = Node(tmp_path, shim)
    node.start()
    node.apply(POOL)
    for number in range(PODS):
        assert node.cni("ADD", f"s{number}").code == 0
    until(lambda: verified(node, "--ledger", ledger(node)), 30)
    yield node
    node.kill()


def ledger(node: Node) -> str:
    return str(node.root / "data" / "ledger.db")


def verified(node: Node, *options: str) -> bool:
    """Whether the log is good and the ledger is not behind it."""
    found = node.ipledger("verify", *options, "-o", "json")
    assert found.returncode == 0, found.stdout + found.stderr
    return '"behind": ""' in found.stdout


def blocks(node: Node) -> list[Path]:
    found = (node.root / "data" / "nats").glob("**/IPLEDGER_default/msgs/*.blk")
    return sorted(found, key=lambda path: int(path.stem))


def flip_a_bit(node: Node, share: float = 0.5) -> None:
    block = blocks(node)[0]
    data = bytearray(block.read_bytes())
    data[int(len(data) * share)] ^= 0x04
    block.write_bytes(data)


def flip_a_bit_at_the_end(node: Node) -> None:
    flip_a_bit(node, 0.995)


def flip_a_bit_and_lose_the_index(node: Node) -> None:
    flip_a_bit(node)
    for index in (node.root / "data" / "nats").glob("**/IPLEDGER_default/msgs/index.db"):
        index.unlink()


def truncate(node: Node) -> None:
    block = blocks(node)[-1]
    os.truncate(block, block.stat().st_size // 2)


def truncate_and_lose_the_index(node: Node) -> None:
    truncate(node)
    for index in (node.root / "data" / "nats").glob("**/IPLEDGER_default/msgs/index.db"):
        index.unlink()


def lose_the_blocks(node: Node) -> None:
    for block in blocks(node):
        block.unlink()


def lose_the_store(node: Node) -> None:
    shutil.rmtree(node.root / "data" / "nats")


def up(node: Node) -> subprocess.CompletedProcess[str]:
    """Run `ipledger up` on a node whose log is damaged, until it ends by itself."""
    command = [IPLEDGER, "up", "--data", str(node.root / "data"), "--socket", str(node.socket)]
    command += ["--nats-port", "0", "--http", "0", "--node", node.name]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


def offline(node: Node, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command on a node's data while the node is down."""
    return node.ipledger(*command, "--data", str(node.root / "data"))


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_bit,
        flip_a_bit_at_the_end,
        flip_a_bit_and_lose_the_index,
        truncate,
        truncate_and_lose_the_index,
        lose_the_blocks,
        lose_the_store,
    ],
)
def test_damage_on_disk_is_named_restored_and_gone_on_with(
    node: Node, damage: Callable[[Node], None]
) -> None:
    before = {row.sandbox: row.addresses for row in node.allocations()}
    assert node.stop() == 0
    damage(node)

    refused = up(node)
    assert refused.returncode == EXIT_DIFFERENCE, refused.stderr
    error = refused.stderr.splitlines()[-1]
    assert error.startswith("error: commit "), error
    assert f"ipledger restore --from {ledger(node)} --data {node.root / 'data'}" in error

    check_restores(node, before)


def delete(node: Node) -> None:
    asyncio.run(_delete(node, make_anew=False))


def make_anew(node: Node) -> None:
    asyncio.run(_delete(node, make_anew=True))


async def _delete(node: Node, *, make_anew: bool) -> None:
    nc = await node.as_user("restore")
    try:
        await nc.jetstream().delete_stream("IPLEDGER_default")
        if make_anew:
            await nc.jetstream().add_stream(stream_config("default"))
    finally:
        await nc.close()


@pytest.mark.parametrize("damage", [delete, make_anew])
def test_a_stream_lost_under_a_running_engine_ends_it_and_is_restored(
    node: Node, damage: Callable[[Node], None]
) -> None:
    before = {row.sandbox: row.addresses for row in node.allocations()}

    damage(node)

    assert node.wait() == EXIT_DIFFERENCE
    error = node.log.read_text().splitlines()[-1]
    assert error.startswith("error: commit "), error
    assert f"ipledger restore --from {ledger(node)}" in error
    assert up(node).returncode == EXIT_DIFFERENCE, "nobody leads what is left"

    check_restores(node, before)


def check_restores(node: Node, before: Mapping[str, object]) -> None:
    """Verification names the damage; behind a restore everything is as it was, and goes on."""
    found = offline(node, "verify", "--ledger", ledger(node))
    assert found.returncode == EXIT_DIFFERENCE, found.stdout + found.stderr
    good = re.search(r"the ledger is good up to (\d+)", found.stderr)
    assert good, found.stderr
    assert int(good[1]) >= COMMITS, "what is behind was committed before the damage was found"
    print(found.stderr)

    planned = offline(node, "restore", "--from", ledger(node), "--dry-run")
    assert planned.returncode == 0, planned.stderr
    print(planned.stdout)
    restored = offline(node, "restore", "--from", ledger(node))
    if restored.returncode == EXIT_DIFFERENCE:
        assert "--replace saves what can be read of it" in restored.stderr
        restored = offline(node, "restore", "--from", ledger(node), "--replace")
        assert (node.root / "data" / "ledger.replaced.db").exists()
    assert restored.returncode == 0, restored.stderr

    assert offline(node, "verify", "--ledger", ledger(node)).returncode == 0
    node.start()
    assert {row.sandbox: row.addresses for row in node.allocations()} == before
    assert node.cni("ADD", "after").code == 0
    position = max(row.position for row in node.allocations() if row.sandbox == "after")
    assert int(position.partition(".")[0]) > COMMITS
    assert node.ipledger("verify", "--ledger", ledger(node)).returncode == 0
