"""A node that starts again begins from its snapshot, and from its log where there is none."""

from __future__ import annotations

import asyncio

import pytest
from support.node import Node

from ipledger.events.facts import PoolSpec

POOL = PoolSpec("pool", 0, "10.64.0.0/16", ips=("10.64.0.1-10.64.250.250",), default=True)
BUCKET = "OBJ_IPLEDGER_SNAPSHOTS_default"


def state(node: Node) -> list[tuple[str, str, list[str]]]:
    return [(row.id, row.sandbox, [a.address for a in row.addresses]) for row in node.allocations()]


@pytest.fixture
def used(node: Node) -> Node:
    """A node with allocations, stopped well."""
    node.apply(POOL)
    for number in range(5):
        assert node.cni("ADD", f"sandbox-{number}").code == 0
    assert node.cni("DEL", "sandbox-1").code == 0
    return node


def test_a_stopped_node_begins_from_the_snapshot_of_its_end(used: Node) -> None:
    before = state(used)
    assert used.stop() == 0
    assert "snapshot of realm default at commit " in used.log.read_text()

    used.start()

    used.program.line("realm default begins from the snapshot at commit ")
    assert state(used) == before
    assert used.cni("ADD", "sandbox-1b").addresses == ["10.64.0.6/16"]


def test_what_came_behind_the_snapshot_is_there_after_a_kill(used: Node) -> None:
    assert used.stop() == 0
    used.start()
    assert used.cni("ADD", "later").code == 0
    before = state(used)
    used.kill()

    used.start()

    used.program.line("realm default begins from the snapshot at commit ")
    assert state(used) == before


def test_a_damaged_snapshot_is_told_of_and_the_log_is_folded(used: Node) -> None:
    before = state(used)
    assert used.stop() == 0
    used.start()
    asyncio.run(_lose_chunks(used))
    used.kill()

    used.start()

    skipped = "snapshot at commit .* skipped: it is torn: its end is missing"
    used.program.line(f'"level":"error","logger":"ipledger.engine.snapshots","message":"{skipped}')
    assert state(used) == before


async def _lose_chunks(node: Node) -> None:
    nc = await node.as_user("engine")
    try:
        chunks = "$O.IPLEDGER_SNAPSHOTS_default.C.>"
        assert await nc.jetstream().purge_stream(BUCKET, subject=chunks)
    finally:
        await nc.close()
