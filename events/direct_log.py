"""A realm's log as those read it who must not write: auditors, operators, the controller.

It reads with Direct Get alone (ADR 91) and polls, where an engine has consumers that wait. What
it reads may be a moment old where the stream has several replicas.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

import nats.errors
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

from ipledger.events import names
from ipledger.events.continuity import Continuity
from ipledger.events.direct_get import Asked, DirectGet, sequence_of
from ipledger.events.jetstream_reader import PASSING
from ipledger.events.log import Entry, LogUnavailableError, NoLogError
from ipledger.events.tasks import check_cancellation

_log = logging.getLogger(__name__)

_BATCH = 1000
_BATCH_BYTES = 8 * 1024 * 1024
_POLL_S = 0.025
_LOOK_POLLS = 40
"""After how many polls in vain the follower looks whether the log is still there."""
_RETRY_S = 1.0
_TRIES = 10
_TRY_AGAIN_S = 0.2


@dataclass(frozen=True, slots=True)
class DirectLog:
    """A `ReadableLog` that can be followed, kept by a JetStream stream."""

    nc: NatsClient
    realm: str

    async def last(self) -> int:
        """See `ReadableLog.last`. Raises `NoLogError`, `LogUnavailableError`."""
        newest = await self._one(Asked(last_by_subj=names.log_subject(self.realm)))
        return sequence_of(newest) if newest is not None else 0

    async def get(self, sequence: int) -> Entry | None:
        """See `ReadableLog.get`. Raises `NoLogError`, `LogUnavailableError`."""
        found = await self._one(Asked(seq=sequence)) if sequence > 0 else None
        return _entry(found) if found is not None else None

    async def read(self, after: int) -> AsyncIterator[Entry]:
        """See `ReadableLog.read`. Raises `NoLogError`, `LogUnavailableError`, `BrokenLogError`."""
        last, tries = await self.last(), _TRIES
        while after < last:
            entries = await self._behind(after)
            for entry in entries:
                if after < entry.sequence <= last:
                    after = entry.sequence
                    yield entry
            if entries:
                tries = _TRIES
                continue
            tries -= 1  # a replica that is behind: another one may answer the next time
            if not tries:
                await Continuity(self).check_goes_on(after)
                raise LogUnavailableError(f"entries up to {last} exist, but {after} was the last")
            await asyncio.sleep(_TRY_AGAIN_S)

    async def follow(self, after: int, *, pause_s: float = 0.0) -> AsyncGenerator[Entry]:
        """See `Log.follow`. Goes on by itself when the server was away. Raises `BrokenLogError`."""
        newest: Entry | None = None
        in_vain = 0
        while True:
            check_cancellation()
            try:
                entries = await self._behind(after)
                in_vain = 0 if entries else in_vain + 1
                if in_vain > _LOOK_POLLS:
                    in_vain = 0
                    await Continuity(self).check_goes_on(after)
            except LogUnavailableError as error:
                _log.warning("following behind %d interrupted, going on: %s", after, error)
                await asyncio.sleep(_RETRY_S)
                await Continuity(self).recognise(after, newest)
                continue
            for entry in entries:
                newest, after = entry, entry.sequence
                yield entry
            if len(entries) < _BATCH:
                await asyncio.sleep(max(pause_s, _POLL_S))

    async def _behind(self, after: int) -> list[Entry]:
        """Some of the next entries, none where there are none."""
        following = await self.get(after + 1)
        if following is None:
            return []
        asked = Asked(seq=after + 2, batch=_BATCH, max_bytes=_BATCH_BYTES)
        entries = [following]
        for entry in map(_entry, await self._many(asked)):
            if entry.sequence != entries[-1].sequence + 1:
                await self._check_missing(entries[-1].sequence + 1)
            entries.append(entry)
        return entries

    async def _check_missing(self, sequence: int) -> None:
        """Raise `LogUnavailableError` unless the log has no such entry."""
        if await self.get(sequence) is not None:
            raise LogUnavailableError(f"entry {sequence} was lost on its way")

    async def _one(self, asked: Asked) -> Msg | None:
        try:
            return await self._direct.one(asked)
        except nats.errors.NoRespondersError as error:
            raise self._no_log() from error
        except PASSING as error:
            raise LogUnavailableError(f"JetStream did not answer: {error!r}") from error

    async def _many(self, asked: Asked) -> list[Msg]:
        try:
            return await self._direct.many(asked)
        except nats.errors.NoRespondersError as error:
            raise self._no_log() from error
        except PASSING as error:
            raise LogUnavailableError(f"JetStream did not answer: {error!r}") from error

    @property
    def _direct(self) -> DirectGet:
        return DirectGet(self.nc, names.stream(self.realm))

    def _no_log(self) -> NoLogError:
        missing = f"stream {names.stream(self.realm)} does not exist, or is being restored"
        return NoLogError(f"no realm {self.realm!r}: {missing}")


def _entry(message: Msg) -> Entry:
    headers = message.headers or {}
    return Entry(sequence_of(message), message.data, headers.get("traceparent", ""))
