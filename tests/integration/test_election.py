"""The lease of controllers: who works when one dies, gives up, or the API server is away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest_asyncio
from support.apiserver import ApiServer, Fault
from support.apiserver.errors import StatusError

from ipledger.kube.lease import Election
from ipledger.projections.cluster.live.api import Api
from ipledger.projections.cluster.live.connect import connected


@dataclass
class Ring:
    """Where candidates meet, and a clock that a test moves."""

    server: ApiServer
    api: Api
    time_s: float = 0.0
    _tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])

    def candidate(self, name: str) -> Election:
        return Election(
            self.api,
            "default",
            "ipledger",
            name,
            now=lambda: f"2026-11-24T10:00:{self.time_s:09.6f}Z",
            clock=lambda: self.time_s,
            random=lambda: 0.5,
            renew_s=0.01,
        )

    def task(self, work: Any) -> asyncio.Task[None]:
        self._tasks.append(asyncio.create_task(work))
        return self._tasks[-1]

    def spec(self) -> dict[str, Any]:
        found = self.server.store.get("leases.coordination.k8s.io", ("default", "ipledger"))
        assert found is not None
        spec: dict[str, Any] = found["spec"]
        return spec

    async def until_asked(self, times: int) -> None:
        """Until the lease was read so many times more."""
        before = self.server.count("get", "leases")
        await self.server.until(lambda s: s.count("get", "leases") >= before + times)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest_asyncio.fixture
async def ring(tmp_path: Path) -> AsyncIterator[Ring]:
    server = ApiServer()
    await server.start()
    async with connected(server.kubeconfig(tmp_path)) as api:
        made = Ring(server, api)
        try:
            yield made
        finally:
            await made.end()
    await server.stop()


async def soon(work: Any) -> None:
    async with asyncio.timeout(30):
        await work


async def test_the_first_holds_it_and_the_second_waits_until_it_is_given_up(ring: Ring) -> None:
    a, b = ring.candidate("a"), ring.candidate("b")
    await soon(a.acquire())
    assert ring.spec() == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-11-24T10:00:00.000000Z",
        "renewTime": "2026-11-24T10:00:00.000000Z",
        "leaseTransitions": 0,
    }
    waiting = ring.task(b.acquire())
    await ring.until_asked(3)
    assert not waiting.done()
    assert b.holder == "a"
    await a.release()
    await soon(waiting)
    assert (ring.spec()["holderIdentity"], ring.spec()["leaseTransitions"]) == ("b", 1)


async def test_who_dies_is_followed_when_its_time_is_over_and_not_before(ring: Ring) -> None:
    a, b = ring.candidate("a"), ring.candidate("b")
    await soon(a.acquire())
    waiting = ring.task(b.acquire())
    await ring.until_asked(2)
    ring.time_s = 14.9
    await ring.until_asked(3)
    assert not waiting.done()
    ring.time_s = 15.1
    await soon(waiting)
    assert ring.spec()["holderIdentity"] == "b"


async def test_who_renews_keeps_it_however_much_time_goes_by(ring: Ring) -> None:
    a, b = ring.candidate("a"), ring.candidate("b")
    await soon(a.acquire())
    keeping, waiting = ring.task(a.keep()), ring.task(b.acquire())
    for _ in range(5):
        ring.time_s += 10
        await ring.until_asked(6)
    assert not keeping.done()
    assert not waiting.done()
    assert ring.spec()["acquireTime"] == "2026-11-24T10:00:00.000000Z"
    assert ring.spec()["leaseTransitions"] == 0


async def test_who_slept_finds_that_another_works(ring: Ring) -> None:
    a, b = ring.candidate("a"), ring.candidate("b")
    await soon(a.acquire())
    waiting = ring.task(b.acquire())
    await ring.until_asked(2)
    ring.time_s = 20
    await soon(waiting)
    await soon(a.keep())
    assert a.holder == "b"
    await a.release()
    assert ring.spec()["holderIdentity"] == "b"


async def test_while_the_api_server_is_away_everybody_stays_what_he_is(ring: Ring) -> None:
    a, b = ring.candidate("a"), ring.candidate("b")
    await soon(a.acquire())
    keeping, waiting = ring.task(a.keep()), ring.task(b.acquire())
    await ring.until_asked(4)
    away = Fault(resource="leases", times=1000, error=StatusError("ServiceUnavailable", "away"))
    ring.server.faults.append(away)
    ring.time_s = 100
    await ring.server.until(lambda _: away.times < 980)
    assert not keeping.done()
    assert not waiting.done()
    away.times = 0
    await ring.server.until(lambda _: keeping.done() != (ring.spec()["holderIdentity"] == "a"))


async def test_of_two_that_take_it_at_once_one_has_it(ring: Ring) -> None:
    candidates = [ring.candidate(f"c{number}") for number in range(8)]
    taking = [ring.task(one.acquire()) for one in candidates]
    await soon(asyncio.wait(taking, return_when=asyncio.FIRST_COMPLETED))
    await ring.until_asked(16)
    assert sum(task.done() for task in taking) == 1
    holders = {one.holder for one in candidates}
    assert holders == {ring.spec()["holderIdentity"]}


async def test_a_lease_that_somebody_deleted_is_made_again(ring: Ring) -> None:
    a = ring.candidate("a")
    await soon(a.acquire())
    keeping = ring.task(a.keep())
    ring.server.delete("leases", "ipledger", "default")
    with contextlib.suppress(TimeoutError):
        await ring.server.until(lambda s: s.count("create", "leases") == 2)
    await ring.until_asked(1)
    assert not keeping.done()
    assert ring.spec()["holderIdentity"] == "a"
