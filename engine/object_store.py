"""Snapshots in a JetStream object store: a bucket of a realm, an object of a snapshot.

Bucket and objects are laid out as everywhere (`nats object get` reads them); nats-py makes and
writes them. It reads an object with an ordered push consumer, which answers flow control every
250 ms (ADR 5, ADR 32), so they are read here, with Direct Get, as the controller may (ADR 91).
"""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ObjectMeta, ObjectMetaOptions, ObjectStoreConfig, StorageType
from nats.js.object_store import ObjectStore

from ipledger.engine.snapshot_store import SnapshotsUnavailableError
from ipledger.events import names
from ipledger.events.direct_get import Asked, DirectGet, sequence_of

_ANSWER_TIMEOUT_S = 5.0
_CHUNK_BYTES = 512 * 1024
_HEADER_BYTES_MAX = 1024
_FETCH_CHUNKS = 8
_OBJECTS_MAX = 1000
_PASSING = (nats.errors.Error, nats.js.errors.Error, OSError, asyncio.TimeoutError)


class _Meta(msgspec.Struct, frozen=True):
    """Of an object's metadata, what its reader needs."""

    name: str = ""
    nuid: str = ""
    deleted: bool = False


_decode_meta = msgspec.json.Decoder(_Meta).decode


@dataclass(slots=True)
class JetStreamSnapshots:
    """A `SnapshotStore` in the bucket of a realm, made with the first snapshot.

    It has as many replicas as the realm's log.
    """

    nc: NatsClient
    realm: str

    @property
    def bucket(self) -> str:
        """The name of the bucket."""
        return names.snapshots(self.realm)

    async def put(self, sequence: int, parts: AsyncIterator[bytes]) -> None:
        """See `SnapshotStore.put`."""
        chunk = min(_CHUNK_BYTES, self.nc.max_payload - _HEADER_BYTES_MAX)
        options = ObjectMetaOptions(max_chunk_size=chunk)
        source = _Source(parts, asyncio.get_running_loop())
        try:
            store = await self._made()
            await store.put(str(sequence), source, ObjectMeta(options=options))
        except _PASSING as error:
            raise SnapshotsUnavailableError(f"cannot write {self.bucket}: {error!r}") from error

    async def sequences(self) -> list[int]:
        """See `SnapshotStore.sequences`."""
        wanted = Asked(multi_last=(f"$O.{self.bucket}.M.>",), batch=_OBJECTS_MAX)
        try:
            found = await self._direct.many(wanted)
        except nats.errors.NoRespondersError:
            return []
        except _PASSING as error:
            raise SnapshotsUnavailableError(f"cannot list {self.bucket}: {error!r}") from error
        live = [meta.name for meta in map(_meta, found) if not meta.deleted]
        return sorted((int(name) for name in live if name.isdecimal()), reverse=True)

    async def get(self, sequence: int) -> AsyncIterator[bytes]:
        """See `SnapshotStore.get`."""
        try:
            found = await self._direct.one(Asked(last_by_subj=self._meta_subject(sequence)))
            meta = _meta(found) if found is not None else _Meta(deleted=True)
            if not meta.deleted:
                async for chunk in self._chunks(f"$O.{self.bucket}.C.{meta.nuid}"):
                    yield chunk
        except nats.errors.NoRespondersError:
            return
        except _PASSING as error:
            raise SnapshotsUnavailableError(f"cannot read {self.bucket}: {error!r}") from error

    async def keep(self, count: int) -> None:
        """See `SnapshotStore.keep`. What a writer that died has left behind goes too."""
        try:
            old = {str(sequence) for sequence in (await self.sequences())[count:]}
            for subject in await self._subjects("M"):
                if _name_of(subject) in old:
                    await self._purge(subject)
            live = [await self._chunks_subject(subject) for subject in await self._subjects("M")]
            for subject in await self._subjects("C"):
                if subject not in live:
                    await self._purge(subject)
        except _PASSING as error:
            raise SnapshotsUnavailableError(f"cannot clear {self.bucket}: {error!r}") from error

    def _js(self) -> JetStreamContext:
        return self.nc.jetstream(timeout=_ANSWER_TIMEOUT_S)

    @property
    def _stream(self) -> str:
        return f"OBJ_{self.bucket}"

    async def _made(self) -> ObjectStore:
        js = self._js()
        try:
            return await js.object_store(self.bucket)
        except nats.js.errors.NotFoundError:
            log = await js.stream_info(names.stream(self.realm))
        config = ObjectStoreConfig(
            description="ipledger: snapshots of one routing domain",
            storage=StorageType.FILE,
            replicas=log.config.num_replicas or 1,
        )
        return await js.create_object_store(self.bucket, config)

    async def _subjects(self, kind: str) -> list[str]:
        """The subjects of metadata (`M`) or chunks (`C`) that the bucket holds messages of."""
        wanted = f"$O.{self.bucket}.{kind}.>"
        try:
            info = await self._js().stream_info(self._stream, subjects_filter=wanted)
        except nats.js.errors.NotFoundError:
            return []
        except _PASSING as error:
            raise SnapshotsUnavailableError(f"cannot list {self.bucket}: {error!r}") from error
        return sorted(info.state.subjects or {})

    async def _chunks_subject(self, meta: str) -> str:
        store = await self._js().object_store(self.bucket)
        info = await store.get_info(_name_of(meta), show_deleted=True)
        return f"$O.{self.bucket}.C.{info.nuid}"

    async def _purge(self, subject: str) -> None:
        await self._js().purge_stream(self._stream, subject=subject)

    async def _chunks(self, subject: str) -> AsyncIterator[bytes]:
        after = 0
        while True:
            asked = Asked(seq=after + 1, next_by_subj=subject, batch=_FETCH_CHUNKS)
            found = await self._direct.many(asked)
            for message in found:
                after = sequence_of(message)
                yield message.data
            if not found:
                return

    @property
    def _direct(self) -> DirectGet:
        return DirectGet(self.nc, self._stream)

    def _meta_subject(self, sequence: int) -> str:
        name = base64.urlsafe_b64encode(b"%d" % sequence).decode()
        return f"$O.{self.bucket}.M.{name}"


class _Source(io.BufferedIOBase):
    """What nats-py reads from, in a thread: parts that the event loop makes, one at a time."""

    def __init__(self, parts: AsyncIterator[bytes], loop: asyncio.AbstractEventLoop) -> None:
        self._parts = parts
        self._loop = loop
        self._rest = memoryview(b"")

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        """Fill a chunk; less than that only at the end."""
        filled = 0
        while filled < len(buffer):
            if not self._rest:
                coming = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
                self._rest = memoryview(coming.result())
                if not self._rest:
                    break
            size = min(len(buffer) - filled, len(self._rest))
            buffer[filled : filled + size] = self._rest[:size]
            self._rest = self._rest[size:]
            filled += size
        return filled

    async def _next(self) -> bytes:
        return await anext(self._parts, b"")


def _meta(message: Msg) -> _Meta:
    """What an object is; one that cannot be read is as good as deleted."""
    try:
        return _decode_meta(message.data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Meta(deleted=True)


def _name_of(meta_subject: str) -> str:
    """The name of an object, from the subject of its metadata."""
    return base64.urlsafe_b64decode(meta_subject.rpartition(".")[2]).decode(errors="replace")
