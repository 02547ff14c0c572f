"""A TCP proxy that loses what a network loses: an answer, or the connection with it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from urllib.parse import urlsplit


class Proxy:
    """Passes bytes between clients and a server, until told to lose the next answer."""

    def __init__(self, server_url: str) -> None:
        self._server_port = urlsplit(server_url).port
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._marker = b""
        self._cut = False
        self.lost = asyncio.Event()

    @property
    def url(self) -> str:
        """Where clients connect."""
        assert self._listener is not None
        return f"nats://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"

    def lose_answer(self, marker: bytes, *, cut: bool) -> None:
        """Swallow the server's next bytes that hold `marker`; `cut` ends the connection there."""
        self._marker, self._cut = marker, cut
        self.lost.clear()

    async def start(self) -> None:
        """Listen on a free port."""
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def stop(self) -> None:
        """Close everything."""
        assert self._listener is not None
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await self._pass_both_ways(reader, writer)
        finally:
            await _close(writer)  # also if the server was not reached before the proxy stopped

    async def _pass_both_ways(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        server_reader, server_writer = await self._connect()
        up = asyncio.create_task(_pass(reader, server_writer))
        down = asyncio.create_task(self._pass_answers(server_reader, writer))
        try:
            await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            await _close(server_writer)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the server, waiting for it while it is down."""
        while True:
            try:
                return await asyncio.open_connection("127.0.0.1", self._server_port)
            except OSError:
                await asyncio.sleep(0.01)

    async def _pass_answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(65536):
            if self._marker and self._marker in data:
                self._marker = b""
                self.lost.set()
                if self._cut:
                    return
                continue
            writer.write(data)
            await writer.drain()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def proxy_to(server_url: str) -> AsyncGenerator[Proxy]:
    """A running proxy before a server."""
    proxy = Proxy(server_url)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
