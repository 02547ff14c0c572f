"""Reading a stream from JetStream: what is delivered, what was lost on its way, what is gone.

A stream is read with ephemeral pull consumers that acknowledge nothing (ADR 5). What such a
consumer has sent it does not send again, and it dies with its server, so that a gap or silence
may have three causes, which are told apart here: nothing new, a delivery that was lost (a new
consumer brings it), or a log that has lost a commit, which is broken.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from ipledger.events import names
from ipledger.events.continuity import Continuity
from ipledger.events.log import Entry, LogUnavailableError, ReadableLog
from ipledger.events.tasks import check_cancellation

_log = logging.getLogger(__name__)

PASSING = (nats.errors.Error, nats.js.errors.Error, OSError, asyncio.TimeoutError)
"""What nats-py raises when the server is away, starting, or has no leader for the stream yet."""

_FETCH_MESSAGES_MAX = 500
_FETCH_MESSAGES_FIRST = 16
_FETCH_BYTES = 16 * 1024 * 1024  # nats-server drops a client for whom 64 MB wait
_FETCH_TIMEOUT_S = 2.0
_SILENCE_S = 0.5
_SILENCES_MAX = 10
"""How often a reader of entries known to exist looks for what keeps them, before it gives up."""
_FAILURES_MAX = 4
"""How often in a row a reader may get nothing before it gives up: a stream may change leaders."""
_CONSUMER_IDLE_S = 30.0
_RETRY_S = 1.0


class _LostError(LogUnavailableError):
    """An entry that is in the log was not delivered, and will not be by this consumer."""


@dataclass(frozen=True, slots=True)
class StreamReader:
    """Reads a realm's stream, which is `log`."""

    log: ReadableLog
    js: JetStreamContext
    realm: str

    @property
    def _continuity(self) -> Continuity:
        return Continuity(self.log)

    async def read(self, after: int, last: int) -> AsyncGenerator[Entry]:
        """The entries behind `after` up to `last`, which exists.

        Raises `LogUnavailableError`, `BrokenLogError`.
        """
        failures = 0
        while after < last:
            begun = after
            try:
                async with contextlib.aclosing(self._consume(after, patient=False)) as entries:
                    async for entry in entries:
                        after = entry.sequence
                        yield entry
                        if after >= last:
                            return
            except LogUnavailableError as error:
                failures = failures + 1 if after == begun else 0
                if failures >= _FAILURES_MAX:
                    raise
                _log.warning("reading behind %d with a new consumer: %s", after, error)
                await asyncio.sleep(failures * _SILENCE_S)

    async def follow(self, after: int, pause_s: float) -> AsyncGenerator[Entry]:
        """The entries behind `after`, and each new one; see `Log.follow`.

        Raises `BrokenLogError`.
        """
        newest: Entry | None = None
        while True:
            consuming = self._consume(after, patient=True, pause_s=pause_s)
            try:
                async with contextlib.aclosing(consuming) as entries:
                    async for entry in entries:
                        newest, after = entry, entry.sequence
                        yield entry
            except LogUnavailableError as error:
                _log.warning("following behind %d interrupted, going on: %s", after, error)
                await asyncio.sleep(_RETRY_S)
                await self._continuity.recognise(after, newest)

    async def _consume(
        self, after: int, *, patient: bool, pause_s: float = 0.0
    ) -> AsyncGenerator[Entry]:
        """What one consumer brings, a few megabytes at a time."""
        subscription = await self._subscribe(after)
        silences, count = 0, _FETCH_MESSAGES_FIRST
        try:
            while patient or silences < _SILENCES_MAX:
                check_cancellation()
                timeout_s = _FETCH_TIMEOUT_S if patient else _SILENCE_S
                messages = await _fetch(subscription, count, timeout_s)
                for message in messages:
                    sequence = message.metadata.sequence.stream
                    if sequence != after + 1:
                        await self._check_missing(after + 1)
                    after = sequence
                    headers = message.headers or {}
                    yield Entry(sequence, message.data, headers.get("traceparent", ""))
                if pause_s and len(messages) < count:
                    await asyncio.sleep(pause_s)
                silences = 0 if messages else silences + 1
                count = _fitting(messages)
                if silences:
                    await self._check_silence(subscription, after, patient=patient)
            raise LogUnavailableError("entries known to exist were not delivered")
        finally:
            with contextlib.suppress(*PASSING):
                await subscription.unsubscribe()

    async def _subscribe(self, after: int) -> JetStreamContext.PullSubscription:
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=after + 1,
            ack_policy=AckPolicy.NONE,
            mem_storage=True,
            num_replicas=1,
            inactive_threshold=_CONSUMER_IDLE_S,
        )
        try:
            return await self.js.pull_subscribe(
                names.log_subject(self.realm), stream=names.stream(self.realm), config=config
            )
        except PASSING as error:
            raise LogUnavailableError(
                f"cannot read {names.stream(self.realm)}: {error!r}"
            ) from error

    async def _check_missing(self, sequence: int) -> None:
        """Raise `LogUnavailableError` unless the log has no such entry."""
        if await self.log.get(sequence) is not None:
            raise _LostError(f"entry {sequence} was lost on its way")

    async def _check_silence(
        self, subscription: JetStreamContext.PullSubscription, after: int, *, patient: bool
    ) -> None:
        """Raise `LogUnavailableError` or `BrokenLogError` unless there is nothing new.

        Who reads what is known to exist waits a while for a log that does not answer.
        """
        try:
            await self._continuity.check_goes_on(after)
            delivered = await _delivered(subscription)
        except LogUnavailableError:
            if patient:
                raise
        else:
            if delivered > after:
                raise _LostError(f"what was sent behind {after} was lost on its way")


async def _fetch(
    subscription: JetStreamContext.PullSubscription, count: int, timeout_s: float
) -> list[Msg]:
    """The next messages; none when there was silence for that long."""
    try:
        return await subscription.fetch(count, timeout=timeout_s)
    except (TimeoutError, nats.errors.TimeoutError):
        return []
    except PASSING as error:
        raise LogUnavailableError(f"fetch failed: {error!r}") from error


def _fitting(messages: list[Msg]) -> int:
    """How many messages to fetch next, if they are as long as these."""
    longest = max((len(message.data) for message in messages), default=1)
    return max(1, min(_FETCH_MESSAGES_MAX, _FETCH_BYTES // max(longest, 1)))


async def _delivered(subscription: JetStreamContext.PullSubscription) -> int:
    """The last entry that a consumer has sent. Raises `LogUnavailableError` if it is gone."""
    try:
        delivered = (await subscription.consumer_info()).delivered
    except PASSING as error:
        raise LogUnavailableError(f"the consumer is gone: {error!r}") from error
    return (delivered.stream_seq or 0) if delivered is not None else 0
