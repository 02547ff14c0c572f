"""The log on NATS JetStream: one stream per realm, one subject, one message per commit."""

from __future__ import annotations

import asyncio
import contextlib
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
    StreamInfo,
)

from ipledger.events import names
from ipledger.events.log import (
    Appended,
    BrokenLogError,
    Conflict,
    Entry,
    LogUnavailableError,
    NoLogError,
)

_log = logging.getLogger(__name__)

_WRONG_LAST_SEQUENCE = 10071  # nats-server's JSStreamWrongLastSequenceErrF
_NO_MESSAGE = 10037  # JSNoMessageFoundErr
_ANSWER_TIMEOUT_S = 2.0
_APPEND_TIMEOUT_FIRST_S = 0.5  # a lost answer costs this; sending again too early costs nothing
_APPEND_TIMEOUT_MAX_S = 4.0
_RETRY_FIRST_S = 0.02
_RETRY_MAX_S = 1.0
_FETCH_MESSAGES = 500
_FETCH_TIMEOUT_S = 5.0
_SILENCE_S = 0.5
_SILENCES_MAX = 10
"""How often a reader of entries known to exist looks for what keeps them, before it gives up."""
_CONSUMER_IDLE_S = 30.0
_HEADER_BYTES_MAX = 1024
_LOOKS = 3
_LOOK_DELAY_S = 0.5
"""How often a loss is looked at before it is believed: a new leader may not have caught up yet."""

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
        """Reach a realm's stream. Raises `NoLogError`, `LogUnavailableError`.

        A stream that is being restored is not available.
        """
        log = cls.of(nc, realm)
        if names.restore_subject(realm) in ((await log.info()).config.subjects or ()):
            unfinished = f"stream {names.stream(realm)} is being restored"
            raise LogUnavailableError(f"{unfinished}: let `ipledger restore` end, or run it again")
        return log

    @classmethod
    async def create(cls, nc: NatsClient, realm: str, replicas: int = 1) -> JetStreamLog:
        """Reach a realm's stream, making it where it does not exist yet. Raises as `open`."""
        try:
            return await cls.open(nc, realm)
        except NoLogError:
            log = cls.of(nc, realm)
        try:
            await log.js.add_stream(stream_config(realm, replicas))
        except _PASSING as error:
            raise LogUnavailableError(f"cannot create {names.stream(realm)}: {error!r}") from error
        return log

    @classmethod
    def of(cls, nc: NatsClient, realm: str) -> JetStreamLog:
        """A realm's stream, whether it is there or not."""
        return cls(nc, nc.jetstream(timeout=_ANSWER_TIMEOUT_S), realm)

    async def info(self) -> StreamInfo:
        """What the server says of the stream. Raises `NoLogError`, `LogUnavailableError`."""
        try:
            return await self.js.stream_info(names.stream(self.realm))
        except nats.js.errors.NotFoundError:
            raise NoLogError(
                f"no realm {self.realm!r}: stream {names.stream(self.realm)} does not exist"
            ) from None
        except _PASSING as error:
            raise LogUnavailableError(f"JetStream did not answer: {error!r}") from error

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
                    stored = await self.get(after + 1)
                    if stored is not None and stored.payload == payload:
                        return Appended(after + 1)
                return Conflict(last)
            except LogUnavailableError as error:
                self._check_open(error)
                _log.warning("cannot read entry %d yet, trying again: %r", after + 1, error)
                await asyncio.sleep(_RETRY_MAX_S)

    def _check_open(self, error: Exception) -> None:
        if self.nc.is_closed:
            raise LogUnavailableError("the connection to NATS was closed") from error

    async def last(self) -> int:
        """See `ReadableLog.last`. Raises `NoLogError`, `LogUnavailableError`."""
        return (await self.info()).state.last_seq

    async def get(self, sequence: int) -> Entry | None:
        """See `ReadableLog.get`. Raises `NoLogError`, `LogUnavailableError`."""
        if sequence < 1:
            return None
        try:
            message = await self.js.get_msg(names.stream(self.realm), sequence)
        except nats.js.errors.NotFoundError as error:
            if error.err_code == _NO_MESSAGE:
                return None
            raise NoLogError(f"stream {names.stream(self.realm)} does not exist") from None
        except _PASSING as error:
            raise LogUnavailableError(f"JetStream did not answer: {error!r}") from error
        return Entry(sequence, message.data or b"")

    async def read(self, after: int) -> AsyncIterator[Entry]:
        """See `ReadableLog.read`. Raises `NoLogError`, `LogUnavailableError`, `BrokenLogError`."""
        last = await self.last()
        if last <= after:
            return
        async for entry in self._consume(after, patient=False):
            yield entry
            if entry.sequence >= last:
                return

    async def follow(self, after: int) -> AsyncIterator[Entry]:
        """See `Log.follow`. Goes on by itself when the server was away. Raises `BrokenLogError`."""
        newest: Entry | None = None
        while True:
            try:
                async for entry in self._consume(after, patient=True):
                    newest, after = entry, entry.sequence
                    yield entry
            except LogUnavailableError as error:
                _log.warning("following behind %d interrupted, going on: %s", after, error)
                await asyncio.sleep(_RETRY_MAX_S)
                await self._recognise(after, newest)

    async def _recognise(self, after: int, newest: Entry | None) -> None:
        """Make sure that the log which is there now is the one that was followed."""
        try:
            await self._check_goes_on(after)
            if newest is not None and await self.get(after) != newest:
                raise BrokenLogError(after, "it has other bytes than when it was read before")
        except LogUnavailableError as error:
            _log.warning("the log cannot be looked at yet: %s", error)

    async def _check_goes_on(self, after: int) -> None:
        """Raise `BrokenLogError` if the log lost what is at or next to `after`."""
        loss = await self._loss(after)
        for _ in range(_LOOKS - 1):
            if loss is None:
                return
            await asyncio.sleep(_LOOK_DELAY_S)
            loss = await self._loss(after)
        if loss is not None:
            raise loss

    async def _loss(self, after: int) -> BrokenLogError | None:
        try:
            last = await self.last()
        except NoLogError as error:
            return BrokenLogError(after, f"missing: {error}") if after else None
        if last < after:
            return BrokenLogError(last + 1, f"missing: the log ends at {last} now, not at {after}")
        if last > after and await self.get(after + 1) is None:
            return BrokenLogError(after + 1, f"missing in the log, which goes to {last}")
        return None

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
        silences = 0
        try:
            while patient or silences < _SILENCES_MAX:
                messages = await self._fetch(
                    subscription, _FETCH_TIMEOUT_S if patient else _SILENCE_S
                )
                for message in messages:
                    after = message.metadata.sequence.stream
                    yield Entry(after, message.data)
                silences = 0 if messages else silences + 1
                if silences and patient:
                    await self._check_goes_on(after)
                    await _check_lives(subscription)
                elif silences:
                    with contextlib.suppress(LogUnavailableError):
                        await self._check_goes_on(after)
            raise LogUnavailableError("entries known to exist were not delivered")
        finally:
            if not self.nc.is_closed:
                await subscription.unsubscribe()

    async def _fetch(
        self, subscription: JetStreamContext.PullSubscription, timeout_s: float
    ) -> list[Msg]:
        """The next messages; none when there was silence for that long."""
        try:
            return await subscription.fetch(_FETCH_MESSAGES, timeout=timeout_s)
        except (TimeoutError, nats.errors.TimeoutError):
            return []
        except _PASSING as error:
            raise LogUnavailableError(f"fetch failed: {error!r}") from error


async def _check_lives(subscription: JetStreamContext.PullSubscription) -> None:
    """Raise `LogUnavailableError` if the consumer is gone.

    It is ephemeral and dies with its server, and pulls on it are never answered.
    """
    try:
        await subscription.consumer_info()
    except _PASSING as lost:
        raise LogUnavailableError(f"the consumer is gone: {lost!r}") from lost
