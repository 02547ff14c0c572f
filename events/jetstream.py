"""The log on NATS JetStream: one stream per realm, one subject, one message per commit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

import nats.js.errors
from nats.aio.client import Client as NatsClient
from nats.js import JetStreamContext
from nats.js.api import (
    Header,
    StorageType,
    StoreCompression,
    StreamConfig,
    StreamInfo,
)
from opentelemetry.trace import SpanKind

from ipledger.events import names, tracing
from ipledger.events.jetstream_reader import PASSING, StreamReader
from ipledger.events.log import (
    Appended,
    Conflict,
    Entry,
    LogUnavailableError,
    NoLogError,
)

_log = logging.getLogger(__name__)

# nats-server's JSStreamWrongLastSequenceErrF and JSStreamWrongLastSequenceConstantErr
_WRONG_LAST_SEQUENCE = (10071, 10164)
_OTHER_CONFIG = 10058  # JSStreamNameExistErr: the stream is there with another configuration
_NO_MESSAGE = 10037  # JSNoMessageFoundErr
_ANSWER_TIMEOUT_S = 2.0
_APPEND_TIMEOUT_FIRST_S = 0.5  # a lost answer costs this; sending again too early costs nothing
_APPEND_TIMEOUT_MAX_S = 2.0
_RETRY_FIRST_S = 0.02
_RETRY_MAX_S = 1.0
_HEADER_BYTES_MAX = 1024


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
        """Reach a realm's stream, making it with `replicas` where it does not exist yet.

        One that exists keeps the replicas it has: changing them is an operator's decision.
        Raises `LogUnavailableError`, and `LogSettingsError` if its other settings differ.
        """
        log = cls.of(nc, realm)
        name = names.stream(realm)
        there = await log._replicas() or replicas
        try:
            await log.js.add_stream(stream_config(realm, there))
        except nats.js.errors.APIError as error:
            if error.err_code != _OTHER_CONFIG:
                why = error.description or repr(error)
                raise LogUnavailableError(f"cannot create {name}: {why}") from error
            what = f"stream {name} exists, but not with the settings of a log of ipledger"
            raise LogSettingsError(f"{what}; see `nats stream info {name}`") from error
        except PASSING as error:
            raise LogUnavailableError(f"cannot create {name}: {error!r}") from error
        if there != replicas:
            _log.warning("stream %s has %d replicas, not the %d asked for", name, there, replicas)
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
        except PASSING as error:
            raise LogUnavailableError(f"JetStream did not answer: {error!r}") from error

    async def _replicas(self) -> int:
        """How many replicas a stream that can be used has, 0 if there is none."""
        try:
            info = await (await self.open(self.nc, self.realm)).info()
        except NoLogError:
            return 0
        return info.config.num_replicas or 1

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
        if not traceparent or not tracing.is_on():
            return await self._append(payload, after, traceparent)
        with tracing.begin(
            f"send {names.stream(self.realm)}",
            traceparent,
            kind=SpanKind.PRODUCER,
            attributes={"messaging.system": "nats", "messaging.message.body.size": len(payload)},
        ) as span:
            return await self._append(payload, after, tracing.traceparent_of(span))

    async def _append(self, payload: bytes, after: int, traceparent: str) -> Appended | Conflict:
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
            except PASSING as error:
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
        except PASSING as error:
            raise LogUnavailableError(f"JetStream did not answer: {error!r}") from error
        return Entry(sequence, message.data or b"")

    async def read(self, after: int) -> AsyncIterator[Entry]:
        """See `ReadableLog.read`. Raises `NoLogError`, `LogUnavailableError`, `BrokenLogError`."""
        last = await self.last()
        if last > after:
            async with contextlib.aclosing(self._reader.read(after, last)) as entries:
                async for entry in entries:
                    yield entry

    async def follow(self, after: int, *, pause_s: float = 0.0) -> AsyncIterator[Entry]:
        """See `Log.follow`. Goes on by itself when the server was away. Raises `BrokenLogError`."""
        async with contextlib.aclosing(self._reader.follow(after, pause_s)) as entries:
            async for entry in entries:
                yield entry

    @property
    def _reader(self) -> StreamReader:
        return StreamReader(self, self.js, self.realm)
