"""A command whose first attempt is answered late: it is sent again, and its answer is the first."""

from __future__ import annotations

import asyncio

from support.gated_log import GatedLog
from support.realm import realm
from support.virtual_time import in_virtual_time

from ipledger.engine.commands import ApplyPool
from ipledger.events.facts import PoolSpec

POOL = ApplyPool(pool=PoolSpec("pool", 0, "10.0.0.0/24", ips=("10.0.0.1",)))
LONGER_THAN_AN_ATTEMPT_S = 0.8


@in_virtual_time
async def test_what_was_done_is_told_though_it_was_asked_for_again() -> None:
    async with realm() as r:
        log = GatedLog()
        r.log = log
        await r.leader("engine")
        client = r.client()

        async def slowly(outcome: str, *, create: bool) -> None:
            log.gate.clear()
            asked = client.apply(POOL) if create else client.delete_pool("pool")
            asking = asyncio.create_task(asked)
            before = client.counts.retries
            await asyncio.sleep(LONGER_THAN_AN_ATTEMPT_S)
            log.gate.set()
            assert (await asking).outcome == outcome
            assert client.counts.retries == before + 1

        await slowly("created", create=True)
        await slowly("deleted", create=False)
