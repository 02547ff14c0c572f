"""Where the answers of a client stood, which a reader of them is told."""

from __future__ import annotations

from support.realm import realm
from support.virtual_time import in_virtual_time

from ipledger.engine.commands import ApplyPool
from ipledger.events.facts import PoolSpec
from ipledger.events.position import START, Position

POOL = PoolSpec("pool", 0, "10.0.0.0/24", ips=("10.0.0.1-10.0.0.9",), default=True)


@in_virtual_time
async def test_a_client_knows_where_its_oldest_and_its_newest_answer_stood() -> None:
    async with realm() as r:
        await r.leader("engine")
        client = r.client()
        assert (client.oldest, client.position) == (START, START)
        first = Position.parse((await client.pools()).position)
        await client.apply(ApplyPool(pool=POOL))
        last = Position.parse((await client.pools()).position)
        assert START < first < last
        assert (client.oldest, client.position) == (first, last)
