"""The log on NATS JetStream: one stream per realm, one subject, one message per commit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
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

# nats-server's JSStreamWrongLastSequenceErrF and JSStreamWrongLastSequenceConstantErr
_WRONG_LAST_SEQUENCE = (10071, 10164)
_OTHER_CONFIG = 10058  # JSStreamNameExistErr: the stream is there with another configuration
_ANSWER_TIMEOUT_S = 2.0
_APPEND_TIMEOUT_FIRST_S = 0.5  # a lost answer costs this; sending again too early costs nothing
_APPEND_TIMEOUT_MAX_S = 2.0
_RETRY_FIRST_S = 0.02
_RETRY_MAX_S = 1.0
_FETCH_MESSAGES = 500
_FETCH_TIMEOUT_S = 2.0
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


class LogSettingsError(Exception):
    """The stream exists with settings under which it would not be a log of ours."""


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
        """Reach a realm's stream, making it with `replicas` where it does not exist yet.

        One that exists keeps the replicas it has: changing them is an operator's decision.
        Raises `LogUnavailableError`, and `LogSettingsError` if its other settings differ.
        """
        js = nc.jetstream(timeout=_ANSWER_TIMEOUT_S)
        name = names.stream(realm)
        try:
            there = await _replicas(js, name) or replicas
            await js.add_stream(stream_config(realm, there))
        except nats.js.errors.APIError as error:
            if error.err_code != _OTHER_CONFIG:
                why = error.description or repr(error)
                raise LogUnavailableError(f"cannot create {name}: {why}") from error
            what = f"stream {name} exists, but not with the settings of a log of ipledger"
            raise LogSettingsError(f"{what}; see `nats stream info {name}`") from error
        except _PASSING as error:
            raise LogUnavailableError(f"cannot create {name}: {error!r}") from error
        if there != replicas:
            _log.warning("stream %s has %d replicas, not the %d asked for", name, there, replicas)
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
                if error.err_code in _WRONG_LAST_SEQUENCE:
                    outcome = await self._resolve(payload, after)
                    if outcome is not None:
                        return outcome
                _log.warning("append after %d refused by JetStream, trying again: %s", after, error)
            except _PASSING as error:
                self._check_open(error)
                _log.warning("append after %d not answered, sending it again: %r", after, error)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, _RETRY_MAX_S)
            timeout_s = min(timeout_s * 2, _APPEND_TIMEOUT_MAX_S)

    async def _resolve(self, payload: bytes, after: int) -> Appended | Conflict | None:
        """Tell a conflict from a copy of ours that landed while its answer was lost (idea 4).

        None if neither is there: the leader of a replicated stream counts a message from when
        it has proposed it, and whether that one (ours or another's) lands is not certain yet.
        """
        while True:
            try:
                last = await self.last()
                if last == after:
                    return None
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
            while True:
                messages = await self._fetch(subscription)
                if not messages:
                    await self._check_silence(subscription, after, patient=patient)
                for message in messages:
                    sequence = message.metadata.sequence.stream
                    if sequence > after + 1:
                        await self._check_missing(after + 1)
                    after = sequence
                    yield Entry(sequence, message.data)
        finally:
            if not self.nc.is_closed:
                await subscription.unsubscribe()

    async def _check_missing(self, sequence: int) -> None:
        """Raise `LogUnavailableError` unless the stream has no such entry.

        What a consumer without acknowledgement has sent it does not send again, so what was on its
        way when a connection broke is not delivered, and is there all the same.
        """
        try:
            await self.js.get_msg(names.stream(self.realm), sequence)
        except nats.js.errors.NotFoundError:
            return
        except _PASSING as error:
            raise LogUnavailableError(f"cannot read entry {sequence}: {error!r}") from error
        raise LogUnavailableError(f"entry {sequence} was lost on its way")

    async def _fetch(self, subscription: JetStreamContext.PullSubscription) -> list[Msg]:
        """What has come, nothing where nothing came for a while."""
        try:
            return await subscription.fetch(_FETCH_MESSAGES, timeout=_FETCH_TIMEOUT_S)
        except (TimeoutError, nats.errors.TimeoutError):
            return []
        except _PASSING as error:
            raise LogUnavailableError(f"fetch failed: {error!r}") from error

    async def _check_silence(
        self, subscription: JetStreamContext.PullSubscription, after: int, *, patient: bool
    ) -> None:
        """Raise `LogUnavailableError` unless it is because there is nothing new.

        An ephemeral consumer dies with its server, and pulls on it are never answered; and what it
        has sent may have been lost. Looking at the consumer tells.
        """
        if not patient:
            raise LogUnavailableError("entries known to exist were not delivered")
        try:
            delivered = (await subscription.consumer_info()).delivered
        except _PASSING as error:
            raise LogUnavailableError(f"the consumer is gone: {error!r}") from error
        if delivered is not None and delivered.stream_seq > after:
            raise LogUnavailableError(f"what was sent behind {after} was lost on its way")


async def _replicas(js: JetStreamContext, stream: str) -> int:
    """How many replicas a stream has, 0 if there is none."""
    try:
        info = await js.stream_info(stream)
    except nats.js.errors.NotFoundError:
        return 0
    return info.config.num_replicas or 1
