"""A stream that is restored: it takes commits from one restore and from no engine.

While it is restored the stream listens on a subject of its own and stores what comes under the
log's subject, so that nothing an engine publishes can land in it: a fence that the server holds,
which also marks a restore that did not end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import nats.errors
import nats.js.errors
from nats.js.api import Header, PubAck, StreamConfig, SubjectTransform

from ipledger.events import names
from ipledger.events.jetstream import JetStreamLog, stream_config
from ipledger.events.log import BrokenLogError, Entry, LogUnavailableError, NoLogError

_IN_FLIGHT = 256
_ANSWER_TIMEOUT_S = 30.0
_PASSING = (nats.errors.Error, nats.js.errors.Error, OSError, asyncio.TimeoutError)


@dataclass(slots=True)
class RestoringStream:
    """The stream of a realm in the hands of a restore. Raises `LogUnavailableError` throughout."""

    log: JetStreamLog

    async def is_closed(self) -> bool:
        """Whether the stream is closed to engines: a restore is under way, or did not end."""
        config = await self._config()
        return config is not None and self._subject in (config.subjects or ())

    async def replicas(self) -> int:
        """How many servers keep the stream, which exists."""
        return (await self.log.info()).config.num_replicas or 1

    async def close(self, replicas: int) -> None:
        """Close the stream to engines; where there is none, make a closed one."""
        config = await self._config()
        closed = (config or stream_config(self.log.realm, replicas)).evolve(
            subjects=[self._subject],
            allow_direct=False,  # those who read it so would take it for the whole log
            subject_transform=SubjectTransform(self._subject, names.log_subject(self.log.realm)),
        )
        await self._set(closed, exists=config is not None)

    async def open(self) -> None:
        """Give the stream back to engines."""
        opened = stream_config(self.log.realm).evolve(num_replicas=await self.replicas())
        await self._set(opened, exists=True)

    async def delete(self) -> None:
        """Delete the stream with everything in it."""
        try:
            await self.log.js.delete_stream(names.stream(self.log.realm))
        except _PASSING as error:
            raise LogUnavailableError(f"the stream cannot be deleted: {error!r}") from error

    async def publish(self, entries: AsyncIterator[Entry], progress: Callable[[int], None]) -> None:
        """Append commits to the closed stream, each at its own sequence, many on their way.

        Raises `BrokenLogError` if the stream has something else there.
        """
        sent: deque[tuple[Entry, asyncio.Future[PubAck]]] = deque()
        try:
            async for entry in entries:
                sent.append((entry, await self._send(entry)))
                if len(sent) >= _IN_FLIGHT:
                    await self._settle(sent, progress)
            while sent:
                await self._settle(sent, progress)
        finally:
            for _, answer in sent:
                answer.cancel()

    async def _config(self) -> StreamConfig | None:
        """How the stream is set, None where there is none."""
        try:
            return (await self.log.info()).config
        except NoLogError:
            return None

    @property
    def _subject(self) -> str:
        return names.restore_subject(self.log.realm)

    async def _set(self, config: StreamConfig, *, exists: bool) -> None:
        js = self.log.js
        try:
            await (js.update_stream(config) if exists else js.add_stream(config))
        except _PASSING as error:
            raise LogUnavailableError(f"cannot set up {config.name}: {error!r}") from error

    async def _send(self, entry: Entry) -> asyncio.Future[PubAck]:
        headers = {Header.EXPECTED_LAST_SEQUENCE.value: str(entry.sequence - 1)}
        stream = names.stream(self.log.realm)
        try:
            return await self.log.js.publish_async(
                self._subject, entry.payload, stream=stream, headers=headers
            )
        except _PASSING as error:
            raise _interrupted(entry, error) from error

    async def _settle(
        self,
        sent: deque[tuple[Entry, asyncio.Future[PubAck]]],
        progress: Callable[[int], None],
    ) -> None:
        entry, answer = sent.popleft()
        try:
            stored_at = (await asyncio.wait_for(answer, _ANSWER_TIMEOUT_S)).seq
        except _PASSING as error:
            if await self.log.get(entry.sequence) != entry:
                raise _interrupted(entry, error) from error
        else:
            if stored_at != entry.sequence:
                raise BrokenLogError(entry.sequence, f"the stream stored it as {stored_at}")
        progress(entry.sequence)


def _interrupted(entry: Entry, error: Exception) -> LogUnavailableError:
    what = f"commit {entry.sequence} was not taken ({error!r})"
    return LogUnavailableError(f"{what}: run the restore again, it goes on where it ended")
