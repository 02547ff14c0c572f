"""What an engine says of itself over HTTP."""

from __future__ import annotations

from functools import partial

import aiohttp
import pytest
from support.realm import realm

from ipledger.engine.health import HealthServer, engine_health
from ipledger.engine.listen import Listen, parse_listen


async def asked(server: HealthServer, path: str = "/healthz") -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{server.url}{path}") as answer,
    ):
        return answer.status, (await answer.text()).strip()


async def test_an_engine_that_serves_says_in_which_role() -> None:
    async with realm() as r, HealthServer(Listen()) as server:
        server.health = partial(engine_health, (await r.leader("a")).engine)
        assert await asked(server) == (200, "leader")
        server.health = partial(engine_health, (await r.standby("b")).engine)
        assert await asked(server) == (200, "standby")


async def test_what_cannot_serve_says_why() -> None:
    async with realm() as r, HealthServer(Listen()) as server:
        assert await asked(server) == (503, "the log is not reached yet")
        member = await r.leader("a")
        server.health = partial(engine_health, member.engine)
        member.bus.is_connected = False
        assert await asked(server) == (503, "NATS is not connected")
        member.bus.is_connected = True
        await member.stop()
        assert await asked(server) == (503, "stopped")


async def test_nothing_else_is_served() -> None:
    async with HealthServer(Listen()) as server:
        assert await asked(server, "/") == (404, "not found")


async def test_it_listens_where_it_is_told_to() -> None:
    async with HealthServer(parse_listen("127.0.0.2:0")) as server:
        assert server.url.startswith("http://127.0.0.2:")
        assert await asked(server) == (503, "the log is not reached yet")


@pytest.mark.parametrize("text", ["", ":9474", "localhost", "127.0.0.1:", "a:b", "1:65536", "-1"])
def test_what_is_no_address_is_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=f"^'{text}' is neither PORT nor HOST:PORT$"):
        parse_listen(text)
