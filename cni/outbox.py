"""The outbox: releases that the engine could not take yet, kept on disk until it does.

A DEL must not wait for the control plane, or a dead one would pin terminating pods; the address
stays taken until the release arrives. The release is conditional on its sandbox, so a late one
frees nothing that has gone on to another sandbox.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import msgspec

from ipledger.engine.client import EngineClient, EngineUnavailableError, RefusedError
from ipledger.engine.commands import Release

_log = logging.getLogger(__name__)

_ATTEMPT_TIMEOUT_S = 30.0
_RETRY_S = 1.0

KEPT_MAX = 10_000
"""Releases that are kept at most: many times what a node has pods."""


class StoreError(Exception):
    """The store cannot be read or written just now: a full disk, say."""


class Stored(NamedTuple):
    """A release that waits, without its node; `id` names it in the store."""

    id: int
    release: Release


class OutboxStore(Protocol):
    """Where releases are kept: `outbox_sqlite`. Every method raises `StoreError`."""

    async def put(self, release: Release) -> None:
        """Keep a release; it is durable on return. An attachment is kept once."""
        ...

    async def pending(self) -> list[Stored]:
        """What is kept, oldest first."""
        ...

    async def count(self) -> int:
        """How many are kept."""
        ...

    async def delete(self, stored_id: int) -> None:
        """Strike a release off; one that is not there any more is no error."""
        ...


@dataclass(slots=True)
class Outbox:
    """Stored releases of one node. `node` is not stored: it is the agent's own.

    No more than `kept_max` are kept: who floods a node must not fill its disk. `sent` of them the
    engine has taken since the start, `dropped` it has refused.
    """

    store: OutboxStore
    node: str
    kept_max: int = KEPT_MAX
    sent: int = field(default=0, init=False)
    dropped: int = field(default=0, init=False)
    _stored: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def put(self, release: Release) -> None:
        """Keep a release; it is durable on return. Raises `StoreError`."""
        if await self.store.count() >= self.kept_max:
            raise StoreError(f"{self.kept_max} releases wait for the engine already")
        await self.store.put(release)
        self._stored.set()

    async def send(self, client: EngineClient) -> None:
        """Send what is stored, now and whenever something new is. Runs until cancelled."""
        while True:
            self._stored.clear()
            try:
                for stored in await self.store.pending():
                    await self._send_one(client, stored.release)
                    await self.store.delete(stored.id)
            except StoreError as error:  # sent twice, a release is harmless
                _log.warning("the outbox cannot be worked off, trying again: %s", error)
                await asyncio.sleep(_RETRY_S)
            else:
                await self._stored.wait()

    async def _send_one(self, client: EngineClient, release: Release) -> None:
        ours = msgspec.structs.replace(release, node=self.node)
        while True:
            try:
                await client.release(ours, _ATTEMPT_TIMEOUT_S)
            except EngineUnavailableError as error:
                _log.warning("release of sandbox %s still waits: %s", release.sandbox, error)
                continue
            except RefusedError as error:
                self.dropped += 1
                _log.error("release of sandbox %s dropped: %s", release.sandbox, error)
            else:
                self.sent += 1
            return
