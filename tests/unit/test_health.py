"""What an engine says of itself over HTTP."""

from __future__ import annotations

from functools import partial

import aiohttp
from support.realm import realm

from ipledger.engine.health import HealthServer, engine_health


async def asked(server: HealthServer, path: str = "/healthz") -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{server.port}{path}") as answer,
    ):
        return answer.status, (await answer.text()).strip()


async def test_an_engine_that_serves_says_in_which_role() -> None:
    async with realm() as r, HealthServer(0) as server:
        server.health = partial(engine_health, (await r.leader("a")).engine)
        assert await asked(server) == (200, "leader")
        server.health = partial(engine_health, (await r.standby("b")).engine)
        assert await asked(server) == (200, "standby")


async def test_what_cannot_serve_says_why() -> None:
    async with realm() as r, HealthServer(0) as server:
        assert await asked(server) == (503, "the log is not reached yet")
        member = await r.leader("a")
        server.health = partial(engine_health, member.engine)
        member.bus.is_connected = False
        assert await asked(server) == (503, "NATS is not connected")
        member.bus.is_connected = True
        await member.stop()
        assert await asked(server) == (503, "stopped")


async def test_nothing_else_is_served() -> None:
    async with HealthServer(0) as server:
        assert await asked(server, "/") == (404, "not found")
