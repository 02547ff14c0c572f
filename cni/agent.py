"""The node agent: CNI calls over a unix socket, health and metrics on a side port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from ipledger.cni.call import Call
from ipledger.cni.errors import CniError, Code
from ipledger.cni.handler import CniHandler
from ipledger.cni.patience import Handler, PatientServer
from ipledger.cni.request import cni_version_of
from ipledger.engine.client import EngineClient
from ipledger.engine.listen import Listen
from ipledger.engine.metrics.exposition import Exposition
from ipledger.events.tasks import end

_log = logging.getLogger(__name__)

_BODY_BYTES_MAX = 1024 * 1024  # aiohttp's own limit for a request's body
_HEADER_BYTES_MAX = 128 * 1024
_STOP_TIMEOUT_S = 5.0
_ARRIVAL_S = 10.0
"""How long a request may take to arrive, once its connection is there. Shims send at once."""
_CONNECTIONS_MAX = 1024
"""At a time: a runtime that floods gets no more, and others are told to try again."""
_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid


class AgentError(Exception):
    """The agent cannot start; the message says why."""


@dataclass(slots=True)
class Agent:
    """Serves one node. `http_url` is where it is asked how it is, once it has started.

    A request has `arrival_s` seconds to arrive, and there are `connections_max` at a time at most
    on each of the two.
    """

    handler: CniHandler
    client: EngineClient
    socket_path: Path
    metrics: Exposition
    http: Listen = field(default_factory=Listen)
    arrival_s: float = _ARRIVAL_S
    connections_max: int = _CONNECTIONS_MAX
    http_url: str = field(default="", init=False)
    _runners: list[web.ServerRunner] = field(default_factory=list[web.ServerRunner], init=False)
    _sending: asyncio.Task[None] | None = field(default=None, init=False)
    _owns_socket: bool = field(default=False, init=False)

    async def start(self) -> None:
        """Listen on both, and send what the outbox kept. Raises `AgentError`."""
        listener = _listen(self.socket_path)
        self._owns_socket = True
        await self._serve(self._on_cni, lambda runner: web.SockSite(runner, listener))
        side = await self._serve(self._on_http, lambda runner: web.TCPSite(runner, *self.http))
        self.http_url = self.http.url(side.addresses[0][1])
        self._sending = asyncio.create_task(self.handler.outbox.send(self.client))

    async def stop(self) -> None:
        """Answer what has come, then close and remove the socket."""
        for runner in self._runners:
            await runner.cleanup()
        if self._owns_socket:
            self.socket_path.unlink(missing_ok=True)
        if self._sending is not None:
            await end(self._sending)

    async def _serve(
        self, handler: Handler, site: Callable[[web.ServerRunner], web.BaseSite]
    ) -> web.ServerRunner:
        server = PatientServer(
            handler,
            arrival_s=self.arrival_s,
            connections_max=self.connections_max,
            header_bytes_max=_HEADER_BYTES_MAX,
            busy=_busy(),
        )
        runner = web.ServerRunner(server, shutdown_timeout=_STOP_TIMEOUT_S)
        self._runners.append(runner)
        await runner.setup()
        try:
            await site(runner).start()
        except OSError as error:
            raise AgentError(f"cannot listen: {error}") from error
        return runner

    async def _on_cni(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path != "/cni":
            return await self._on_http(request)
        call = Call.begin(request.headers)
        try:
            _check_peer(request)
            call.body = await self._read(request)
            response = await call.carry_out(self.handler)
        except CniError as error:
            response = call.refuse(error)
        except Exception as error:
            _log.exception("a CNI call failed")
            response = call.refuse(CniError(Code.IO_FAILURE, "the agent failed", repr(error)))
        finally:
            call.end()
        return web.Response(
            body=response, status=400 if call.code else 200, content_type="application/json"
        )

    async def _read(self, request: web.BaseRequest) -> bytes:
        too_long = CniError(Code.DECODING_FAILURE, f"stdin: larger than {_BODY_BYTES_MAX} bytes")
        if (request.content_length or 0) > _BODY_BYTES_MAX:
            raise too_long
        try:
            async with asyncio.timeout(self.arrival_s):
                return await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise too_long from None
        except TimeoutError:
            message = f"stdin did not arrive within {self.arrival_s:g} s"
            raise CniError(Code.TRY_AGAIN_LATER, message) from None

    async def _on_http(self, request: web.BaseRequest) -> web.StreamResponse:
        match request.method, request.path:
            case "GET", "/healthz":
                if self.client.bus.is_connected:
                    return web.Response(text="ok\n")
                return web.Response(text="NATS is not connected\n", status=503)
            case "GET", "/metrics":
                return await self.metrics.response()
            case _:
                return web.Response(text="not found\n", status=404)


def _busy() -> bytes:
    """What a shim prints that found no room: a CNI error, as an HTTP answer."""
    error = CniError(Code.TRY_AGAIN_LATER, "the agent has too many calls at a time")
    body = error.encode(cni_version_of(b""))
    head = f"HTTP/1.1 503 Service Unavailable\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Content-Type: application/json\r\nConnection: close\r\n\r\n".encode() + body


def _check_peer(request: web.BaseRequest) -> None:
    """Only root and the agent's own user may ask (DESIGN section 7)."""
    assert request.transport is not None
    peer = request.transport.get_extra_info("socket")
    _, uid, _ = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    if uid not in (0, os.geteuid()):
        raise CniError(Code.IO_FAILURE, f"user {uid} may not use the agent's socket")


def _listen(path: Path) -> socket.socket:
    """A listening unix socket at `path`, mode 0600; a dead agent's leftover is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))
        raise AgentError(f"socket {path} is in use by another agent")
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(fresh))
        fresh.chmod(0o600)
        listener.listen(1024)
        fresh.rename(path)
    except OSError as error:
        listener.close()
        raise AgentError(f"socket {path}: {error}") from error
    return listener
