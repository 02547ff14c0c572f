"""What the agent keeps of connections: nothing once they are over."""

from __future__ import annotations

import gc
from pathlib import Path

import aiohttp
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from ipledger.cni.patience import PatientServer

LONG_S = 60.0


def protocols() -> list[RequestHandler]:
    """Those that somebody still keeps."""
    gc.collect()
    return [known for known in gc.get_objects() if isinstance(known, RequestHandler)]


async def test_nothing_is_kept_of_a_connection_that_was_answered(tmp_path: Path) -> None:
    before = len(protocols())

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        assert len(protocols()) == before + 1
        return web.Response(text="answered")

    server = PatientServer(
        answer, arrival_s=LONG_S, connections_max=8, header_bytes_max=8192, busy=b""
    )
    runner = web.ServerRunner(server)
    await runner.setup()
    path = str(tmp_path / "socket")
    await web.UnixSite(runner, path).start()
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session:
        assert await (await session.get("http://agent/")).text() == "answered"
    await runner.cleanup()

    assert len(protocols()) == before
