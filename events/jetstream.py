"""The log on NATS JetStream: one stream per realm, one subject, one message per commit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

import nats.errors
import nats.js.errors
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    Header,
    StorageType,
    StoreCompression,
    StreamConfig,
)

from ipledger.events import names
from ipledger.events.log import Appended, Conflict, Entry, LogUnavailableError

_log = logging.getLogger(__name__)

_WRONG_LAST_SEQUENCE = 10071  # nats-server's JSStreamWrongLastSequenceErrF
_ANSWER_TIMEOUT_S = 2.0
_APPEND_TIMEOUT_FIRST_S = 0.5  # a lost answer costs this; sending again too early costs nothing
_APPEND_TIMEOUT_MAX_S = 4.0
_RETRY_FIRST_S = 0.02
_RETRY_MAX_S = 1.0
_FETCH_MESSAGES_MAX = 500
_FETCH_MESSAGES_FIRST = 16
_FETCH_BYTES = 16 * 1024 * 1024  # nats-server drops a client for whom 64 MB wait
_FETCH_TIMEOUT_S = 5.0
_CONSUMER_IDLE_S = 30.0
_HEADER_BYTES_MAX = 1024

# What nats-py raises when the server is away, starting, or has no leader for the stream yet.
_PASSING = (nats.errors.Error, nats.js.errors.Error, OSError, asyncio.TimeoutError)


def stream_config(realm: str, replicas: int = 1) -> StreamConfig:
    """The stream of a realm, as DESIGN section 5 sets it."""
    return StreamConfig(
        name=names.stream(realm),
        description="ipledger: every allocation event of one routing domain",
        subjects=[names.log_subject(realm)],
        storage=StorageType.FILE,
        num_replicas=replicas,
        compression=StoreCompression.S2,
        allow_direct=True,
        deny_delete=True,
        deny_purge=True,
    )


@dataclass(slots=True)
class JetStreamLog:
    """A `Log` kept by a JetStream stream, reached over an open NATS connection."""

    nc: NatsClient
    js: JetStreamContext
    realm: str

    @classmethod
    async def open(cls, nc: NatsClient, realm: str) -> JetStreamLog:
        """Reach a realm's stream; it must exist. Raises `LogUnavailableError`."""
        js = nc.jetstream(timeout=_ANSWER_TIMEOUT_S)
        try:
            await js.stream_info(names.stream(realm))
        except nats.js.errors.NotFoundError:
            raise LogUnavailableError(
                f"no realm {realm!r}: stream {names.stream(realm)} does not exist"
            ) from None
        except _PASSING as error:
            raise LogUnavailableError(f"JetStream did not answer: {error!r}") from error
        return cls(nc, js, realm)

    @classmethod
    async def create(cls, nc: NatsClient, realm: str, replicas: int = 1) -> JetStreamLog:
        """Reach a realm's stream, making it where it does not exist yet."""
        js = nc.jetstream(timeout=_ANSWER_TIMEOUT_S)
        try:
            await js.add_stream(stream_config(realm, replicas))
        except _PASSING as error:
            raise LogUnavailableError(f"cannot create {names.stream(realm)}: {error!r}") from error
        return cls(nc, js, realm)

    @property
    def payload_bytes_max(self) -> int:
        """See `Log.payload_bytes_max`: the server's limit less room for headers."""
        return self.nc.max_payload - _HEADER_BYTES_MAX

    async def append(
        self, payload: bytes, *, after: int, traceparent: str = ""
    ) -> Appended | Conflict:
        """See `Log.append`. Tries for as long as it takes; cancel it to give up.

        Raises `LogUnavailableError` only if the connection was closed for good: the outcome is
        then found by the next fold.
        """
        assert len(payload) <= self.payload_bytes_max
        headers = {Header.EXPECTED_LAST_SEQUENCE.value: str(after)}
        if traceparent:
            headers["traceparent"] = traceparent
        delay_s, timeout_s = _RETRY_FIRST_S, _APPEND_TIMEOUT_FIRST_S
        while True:
            try:
                ack = await self.js.publish(
                    names.log_subject(self.realm),
                    payload,
                    timeout=timeout_s,
                    stream=names.stream(self.realm),
                    headers=headers,
                )
                return Appended(ack.seq)
            except nats.js.errors.APIError as error:
                if error.err_code == _WRONG_LAST_SEQUENCE:
                    return await self._resolve(payload, after)
                _log.warning("append after %d refused by JetStream, trying again: %s", after, error)
            except _PASSING as error:
                self._check_open(error)
                _log.warning("append after %d not answered, sending it again: %r", after, error)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, _RETRY_MAX_S)
            timeout_s = min(timeout_s * 2, _APPEND_TIMEOUT_MAX_S)

    async def _resolve(self, payload: bytes, after: int) -> Appended | Conflict:
        """Tell a conflict from a copy of ours that landed while its answer was lost (idea 4)."""
        while True:
            try:
                last = await self.last()
                if last > after:
                    stored = await self.js.get_msg(names.stream(self.realm), after + 1)
                    if stored.data == payload:
                        return Appended(after + 1)
                return Conflict(last)
            except (*_PASSING, LogUnavailableError) as error:
                self._check_open(error)
                _log.warning("cannot read entry %d yet, trying again: %r", after + 1, error)
                await asyncio.sleep(_RETRY_MAX_S)

    def _check_open(self, error: Exception) -> None:
        if self.nc.is_closed:
            raise LogUnavailableError("the connection to NATS was closed") from error

    async def last(self) -> int:
        """See `Log.last`. Raises `LogUnavailableError`."""
        try:
            info = await self.js.stream_info(names.stream(self.realm))
        except _PASSING as error:
            raise LogUnavailableError(f"JetStream did not answer: {error!r}") from error
        return info.state.last_seq

    async def read(self, after: int) -> AsyncIterator[Entry]:
        """See `Log.read`. Raises `LogUnavailableError`."""
        last = await self.last()
        if last <= after:
            return
        async for entry in self._consume(after, patient=False):
            yield entry
            if entry.sequence >= last:
                return

    async def follow(self, after: int) -> AsyncIterator[Entry]:
        """See `Log.follow`. Goes on by itself when the server was away."""
        while True:
            try:
                async for entry in self._consume(after, patient=True):
                    after = entry.sequence
                    yield entry
            except LogUnavailableError as error:
                _log.warning("following behind %d interrupted, going on: %s", after, error)
                await asyncio.sleep(_RETRY_MAX_S)

    async def _consume(self, after: int, *, patient: bool) -> AsyncIterator[Entry]:
        """The entries behind `after`. A gap is believed of a new consumer only.

        What is too much for a connection at once gets lost on the way.
        """
        while True:
            is_new = True
            async with contextlib.aclosing(self._deliver(after, patient=patient)) as entries:
                async for entry in entries:
                    if entry.sequence != after + 1 and not is_new:
                        _log.warning("entries behind %d got lost, reading them again", after)
                        break
                    is_new, after = False, entry.sequence
                    yield entry

    async def _deliver(self, after: int, *, patient: bool) -> AsyncGenerator[Entry]:
        """The entries that one consumer brings, a few megabytes at a time."""
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=after + 1,
            ack_policy=AckPolicy.NONE,
            mem_storage=True,
            num_replicas=1,
            inactive_threshold=_CONSUMER_IDLE_S,
        )
        try:
            subscription = await self.js.pull_subscribe(
                names.log_subject(self.realm), stream=names.stream(self.realm), config=config
            )
        except _PASSING as error:
            raise LogUnavailableError(
                f"cannot read {names.stream(self.realm)}: {error!r}"
            ) from error
        try:
            count = _FETCH_MESSAGES_FIRST
            while True:
                messages = await self._fetch(subscription, count, patient=patient)
                longest = max((len(message.data) for message in messages), default=0)
                count = max(1, min(_FETCH_MESSAGES_MAX, _FETCH_BYTES // max(longest, 1)))
                for message in messages:
                    yield Entry(message.metadata.sequence.stream, message.data)
        finally:
            if not self.nc.is_closed:
                await subscription.unsubscribe()

    async def _fetch(
        self, subscription: JetStreamContext.PullSubscription, count: int, *, patient: bool
    ) -> list[Msg]:
        try:
            return await subscription.fetch(count, timeout=_FETCH_TIMEOUT_S)
        except (TimeoutError, nats.errors.TimeoutError) as error:
            # An ephemeral consumer dies with its server and pulls on it are never answered, so
            # silence means either; looking at the consumer tells which.
            if patient:
                try:
                    await subscription.consumer_info()
                except _PASSING as lost:
                    raise LogUnavailableError(f"the consumer is gone: {lost!r}") from lost
                return []
            raise LogUnavailableError("entries known to exist were not delivered") from error
        except _PASSING as error:
            raise LogUnavailableError(f"fetch failed: {error!r}") from error
