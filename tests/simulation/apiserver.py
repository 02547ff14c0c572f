"""A simulated API server, at the cut where the product's own `Api` begins to talk to a real one.

It gives what a real one gives: lists and direct reads of a version, watches from one on, 410 where
that is compacted, nothing at all from one that it has not come to yet. It may be behind, slow,
away, half dead, or put back, and lie as proxies and empty caches do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from random import Random

from ipledger.projections.cluster.live.api import (
    JSON,
    Api,
    ApiError,
    ApiSilentError,
    ApiUnreachableError,
    Query,
)
from simulation.etcd import Etcd, Key, Object, Version

_LOOK_S = 0.1
_CALL_TIMEOUT_S = 60.0


@dataclass(slots=True)
class Mood:
    """How the server is. Lags and delays are in seconds, `failing` and `proxied` are probabilities.

    `lag_s` is that of lists and watches, `read_lag_s` of direct reads. A blank server knows of
    nothing, a half blank one only of what Kubernetes itself runs; where only its lists are blank,
    direct reads are as ever. `is_mute`: open watches say
    nothing, as a connection does that is dead and does not know it.
    """

    lag_s: float = 0.0
    read_lag_s: float = 0.0
    slow_s: float = 0.0
    failing: float = 0.0
    is_away: bool = False
    is_blank: bool = False
    is_half_blank: bool = False
    are_lists_blank: bool = False
    proxied: float = 0.0
    is_mute: bool = False


@dataclass(eq=False, slots=True)
class ApiServer:
    """The servers of a cluster, as one. `epoch` counts how often all watches were broken."""

    etcd: Etcd
    random: Random
    mood: Mood = field(default_factory=Mood)
    epoch: int = 0

    def seen(self, lag_s: float) -> Version:
        """The version that a server knows which is so far behind."""
        return self.etcd.version_at(self.etcd.world.loop.time() - lag_s)

    def get(self, plural: str, key: Key) -> Object | None:
        """What a direct read finds."""
        known = self.seen(self.mood.read_lag_s).objects.get(plural, {})
        return known.get(key) if self._admits(plural, key) else None

    def list(self, plural: str) -> bytes:
        """What a list finds, as it is answered."""
        version = self.seen(self.mood.lag_s)
        known = version.objects.get(plural, {})
        items = [found for key, found in known.items() if self._admits(plural, key)]
        if self.mood.are_lists_blank:
            items = []
        metadata = {"resourceVersion": str(version.revision)}
        return json.dumps({"metadata": metadata, "items": items}).encode()

    def _admits(self, plural: str, key: Key) -> bool:
        mood = self.mood
        is_ours = plural == "nodes" or key[0] == "kube-system"
        return not mood.is_blank and (is_ours or not mood.is_half_blank)

    def break_watches(self) -> None:
        """All connections are closed."""
        self.epoch += 1


class SimulatedApi(Api):
    """The way to the server: what `Api` gives, without a socket."""

    def __init__(self, server: ApiServer) -> None:
        super().__init__(None)
        self._server = server

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Query | None = None,
        content_type: str = JSON,
        timeout_s: float = _CALL_TIMEOUT_S,
    ) -> bytes:
        """See `Api.call`; only reads come."""
        assert method == "GET", f"{method} {path}"
        server = self._server
        await self._arrive(path, timeout_s)
        plural, key = _route(path)
        if key is None:
            return server.list(plural)
        found = server.get(plural, key)
        if found is None:
            raise ApiError(404, "NotFound", f"{plural} {key} not found", name=key[1])
        return json.dumps(found).encode()

    async def _arrive(self, path: str, timeout_s: float) -> None:
        server = self._server
        delay_s = server.random.uniform(0.0005, 0.005) + server.random.random() * server.mood.slow_s
        await asyncio.sleep(min(delay_s, timeout_s))
        if delay_s >= timeout_s:
            raise ApiSilentError(f"GET {path}: timeout")
        if server.mood.is_away:
            raise ApiUnreachableError(f"GET {path}: connection refused")
        if server.random.random() < server.mood.proxied:
            lost = ApiError(404, "NotFound", 'clusters "c-1" not found', name="c-1")
            raise server.random.choice((ApiError(404, "", "page not found"), lost))
        if server.random.random() < server.mood.failing:
            raise ApiError(503, "ServiceUnavailable", "not now", 1.0)

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, query: Query, silence_s: float
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """See `Api.stream`."""
        await self._arrive(path, silence_s)
        async with contextlib.aclosing(self._lines(path, query, silence_s)) as lines:
            yield lines

    async def _lines(self, path: str, query: Query, silence_s: float) -> AsyncGenerator[bytes]:
        server, (plural, _) = self._server, _route(path)
        time, epoch = server.etcd.world.loop.time, server.epoch
        told, heard_at, ends_at = (
            int(query["resourceVersion"]),
            time(),
            time() + float(query["timeoutSeconds"]),
        )
        while time() < ends_at:
            if server.mood.is_away or server.epoch != epoch:
                raise ApiUnreachableError(f"GET {path}: the connection broke")
            if time() - heard_at >= silence_s:
                raise ApiSilentError(f"GET {path}: nothing was heard")
            if told < server.etcd.compacted:
                yield _expired(told)
                return
            for line, revision in [] if server.mood.is_mute else self._news(plural, told):
                told, heard_at = revision, time()
                yield line
            await asyncio.sleep(_LOOK_S)

    def _news(self, plural: str, told: int) -> list[tuple[bytes, int]]:
        """What a watch is told that was told everything up to a version."""
        server = self._server
        seen = server.seen(server.mood.lag_s).revision
        news: list[tuple[bytes, int]] = []
        for version in reversed(server.etcd.versions):
            if version.revision <= told:
                break
            if version.revision <= seen and version.plural == plural:
                line = json.dumps({"type": version.event, "object": version.object}).encode()
                news.append((line, version.revision))
        return news[::-1]


def _route(path: str) -> tuple[str, Key | None]:
    """The plural of a kind, and which object if it is about one."""
    parts = path.split("/")[3 if path.startswith("/api/") else 4 :]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2:
        namespace, parts = parts[1], parts[2:]
    return parts[0], (namespace, parts[1]) if len(parts) > 1 else None


def _expired(revision: int) -> bytes:
    status = {"code": 410, "reason": "Expired", "message": f"too old resource version: {revision}"}
    return json.dumps({"type": "ERROR", "object": status}).encode()
