"""The forecast that an engine would have made at a moment of the past."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.histories import build, told

from ipledger.events import commit
from ipledger.events.commit import GENESIS
from ipledger.events.facts import Address, Pod, PoolSpec
from ipledger.events.log import Entry
from ipledger.events.types import AddressesAllocated, AnyEvent, PoolCreated

MINUTE = 60_000_000
START = 1_790_000_000_000_000
POOL = PoolSpec("office", 4, "10.0.0.0/24", ips=("10.0.0.1-10.0.0.100",))


def allocated(number: int) -> AddressesAllocated:
    return AddressesAllocated(
        allocation=f"a{number}",
        pod=Pod("shop", f"web-{number}", f"uid-{number}"),
        node="n1",
        sandbox=f"s{number}",
        interface="eth0",
        addresses=(Address("office", f"10.0.0.{number}/24", ""),),
    )


def entries(minutes: int) -> list[Entry]:
    """A pool, and one allocation a minute."""
    made: list[Entry] = []
    prev = GENESIS
    events: list[AnyEvent] = [PoolCreated(pool=POOL), *map(allocated, range(1, minutes + 1))]
    for number, event in enumerate(events):
        payload = commit.encode(0, START + number * MINUTE, prev, [commit.encode_event(event)])
        made.append(Entry(number + 1, payload))
        prev = commit.digest(payload)
    return made


async def test_one_address_a_minute_fills_what_is_left_in_as_many_minutes(tmp_path: Path) -> None:
    async with build(told(entries(40)), tmp_path / "h.db") as past:
        moment = await past.end_of(31)
        pool = (await past.state(moment.position)).pools["office"]
        found = await past.exhaustion(pool, moment)
        assert found is not None
        assert found.full_in_seconds == pytest.approx(70 * 60, rel=0.05)
        assert found.window_seconds == 30 * 60


async def test_a_pool_that_is_new_has_no_forecast(tmp_path: Path) -> None:
    async with build(told(entries(4)), tmp_path / "h.db") as past:
        moment = await past.now()
        pool = (await past.state(moment.position)).pools["office"]
        assert await past.exhaustion(pool, moment) is None
