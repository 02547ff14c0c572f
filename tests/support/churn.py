"""Pods that are made again under their names as fast as it goes, by a careless runtime.

Each worker has one name. It makes the pod, does its ADD, and ends it in one of the ways in which
real runtimes end one: DEL before the object goes, or behind it, or behind the next ADD, or never.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from dataclasses import dataclass, field
from random import Random

from ipledger.engine.client import EngineClient
from ipledger.engine.commands import Allocate, Release
from ipledger.events.facts import Owner, Pod
from ipledger.events.wall_clock import wall_clock
from support.apiserver import ApiServer
from support.collecting import NAMESPACE

NODE = "node-1"
CART = Owner("apps/v1", "StatefulSet", "cart", "0b1c2d3e-0000-4000-8000-000000000009")


@dataclass
class Churn:
    """Pods of `cluster`, with addresses of `engine`. `gone_at` is when each UID went, `live` what
    each name has: UID and sandbox."""

    cluster: ApiServer
    engine: EngineClient
    random: Random
    gone_at: dict[str, int] = field(default_factory=dict[str, int])
    live: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    recreated: int = 0
    leaked: int = 0
    _sandboxes: itertools.count[int] = field(default_factory=itertools.count)

    async def work(
        self, name: str, stop: asyncio.Event, owner: Owner | None = None, life_s: float = 0.0
    ) -> None:
        """Make the pod again and again; one that is live is left behind.

        A pod lives for up to `life_s`, so that a collector with an old picture may act on it.
        """
        late: list[str] = []
        while True:
            pod = self._make(name)
            if self.random.random() < 0.1:  # a sandbox that dies at once
                await self._add(pod, owner)
            sandbox = await self._add(pod, owner)
            self.live[name] = (pod.uid, sandbox)
            for old in late:
                await self._delete(old)
            late.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), life_s * self.random.random())
            if stop.is_set():
                return
            await self._end(pod, sandbox, late)
            self.recreated += 1

    def _make(self, name: str) -> Pod:
        made = self.cluster.create("v1", "pods", {"metadata": {"name": name}}, NAMESPACE)
        return Pod(NAMESPACE, name, made["metadata"]["uid"])

    async def _add(self, pod: Pod, owner: Owner | None) -> str:
        sandbox = f"s{next(self._sandboxes)}"
        command = Allocate(pod=pod, sandbox=sandbox, interface="eth0", node=NODE, owner=owner)
        await self.engine.allocate(command, 60)
        return sandbox

    async def _end(self, pod: Pod, sandbox: str, late: list[str]) -> None:
        way = self.random.random()
        del self.live[pod.name]
        if way < 0.4:
            await self._delete(sandbox)
        self.gone_at[pod.uid] = wall_clock()
        self.cluster.delete("pods", pod.name, NAMESPACE)
        if way < 0.4:
            pass
        elif way < 0.5:
            await self._delete(sandbox)
        elif way < 0.6:
            late.append(sandbox)
        else:
            self.leaked += 1

    async def _delete(self, sandbox: str) -> None:
        await self.engine.release(Release(sandbox=sandbox, interface="eth0", node=NODE), 60)
