"""An HTTP server that waits for nobody for long, and for so many at a time at most.

aiohttp bounds the size of what comes, not the time it takes: a client that says nothing, or one
byte a minute, would keep its connection for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class PatientServer(web.Server):
    """Calls `handler` for each request whose head has come within `arrival_s` seconds.

    Who comes when there are `connections_max` already is given `busy`, a whole HTTP answer.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        arrival_s: float,
        connections_max: int,
        header_bytes_max: int,
        busy: bytes,
    ) -> None:
        self._arrival_s = arrival_s
        self._connections_max = connections_max
        self._busy = busy
        self._handler = handler
        self._awaited = dict[RequestHandler, asyncio.TimerHandle]()
        super().__init__(
            self._hear,
            access_log=None,
            keepalive_timeout=arrival_s,
            lingering_time=arrival_s,
            max_line_size=header_bytes_max,
            max_field_size=header_bytes_max,
            auto_decompress=False,  # nobody sends so, and little may become much
        )

    def __call__(self) -> RequestHandler:
        """The protocol of a new connection."""
        if len(self.connections) >= self._connections_max:
            return cast(RequestHandler, _Busy(self._busy))
        protocol = super().__call__()
        later = asyncio.get_running_loop().call_later
        self._awaited[protocol] = later(self._arrival_s, self._give_up, protocol)
        return protocol

    async def _hear(self, request: web.BaseRequest) -> web.StreamResponse:
        waiting = self._awaited.pop(request.protocol, None)
        if waiting is not None:
            waiting.cancel()  # else it would keep the protocol until then
        return await self._handler(request)

    def _give_up(self, protocol: RequestHandler) -> None:
        del self._awaited[protocol]
        protocol.force_close()


class _Busy(asyncio.Protocol):
    """Says that there is no room, and hangs up."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answer before anything was asked."""
        cast(asyncio.WriteTransport, transport).write(self._answer)
        transport.close()
