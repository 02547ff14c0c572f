"""Direct Get: reading the messages of a stream by asking for them, which leaves nothing behind.

It needs leave for one subject of the JetStream API, by which nothing can be written or made
(ADR 91), and any replica of the stream answers. nats-server has batches of it since 2.11.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import msgspec
import nats.errors
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

from ipledger.events import names

SEQUENCE = "Nats-Sequence"
SUBJECT = "Nats-Subject"

_ANSWER_TIMEOUT_S = 5.0
_NOT_FOUND = "404"
_END_OF_BATCH = "204"


class Asked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which messages: of a sequence or from it on, the last of a subject, the last of many.

    With `batch`, so many messages at most, of so many bytes. See nats-server's ADR 31.
    """

    seq: int = 0
    last_by_subj: str = ""
    next_by_subj: str = ""
    multi_last: tuple[str, ...] = ()
    batch: int = 0
    max_bytes: int = 0


class RefusedReadError(nats.errors.Error):
    """The server answered a read with an error."""


_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class DirectGet:
    """Reads a stream. Raises `nats.errors.Error`, of which `NoRespondersError` if there is none."""

    nc: NatsClient
    stream: str

    async def one(self, asked: Asked) -> Msg | None:
        """The message asked for, None if there is none."""
        subject = names.direct_get(self.stream)
        message = await self.nc.request(subject, _encode(asked), timeout=_ANSWER_TIMEOUT_S)
        return None if _is_end(message) else message

    async def many(self, asked: Asked) -> list[Msg]:
        """The messages asked for, as far as they came before the batch ended."""
        inbox = self.nc.new_inbox()
        answers = await self.nc.subscribe(inbox)
        found: list[Msg] = []
        try:
            await self.nc.publish(names.direct_get(self.stream), _encode(asked), reply=inbox)
            while not _is_end(message := await answers.next_msg(_ANSWER_TIMEOUT_S)):
                found.append(message)
        finally:
            with contextlib.suppress(nats.errors.Error):
                await answers.unsubscribe()
        return found


def _is_end(message: Msg) -> bool:
    """Whether this says that there is nothing more, rather than being a message of the stream."""
    headers = message.headers or {}
    if message.data or SEQUENCE in headers:
        return False
    status = headers.get("Status", "")
    if status == "503":
        raise nats.errors.NoRespondersError
    if status not in (_NOT_FOUND, _END_OF_BATCH):
        raise RefusedReadError(f"nats: a read was answered with {status or 'nothing'}")
    return True


def sequence_of(message: Msg) -> int:
    """The sequence that a message has in its stream."""
    return int((message.headers or {})[SEQUENCE])
