"""The command and query service: the engine's face on NATS.

Commands are subscribed to only while the engine leads, by every engine that believes it does:
the log settles which of them is right. Queries are subscribed to by every replica in a queue
group, so that one of them answers; so is what a node asks of its own attachments.

A command's node is the one in its subject, since NATS permissions allowed that; what the payload
says of a node is overwritten (DESIGN section 6). Answers go to inboxes alone: nats-server does not
ask whether a client might have published where it wants its answer, and an engine that answered
anywhere would write to its own log for whoever asks (ADR 90).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import msgspec
import nats.errors
from msgspec.json import Decoder
from msgspec.structs import replace

from ipledger.engine import dry_run, queries, reading
from ipledger.engine.answers import AnyAnswer, Checked, Checkpointed, Page, Refused, TryAgain
from ipledger.engine.commands import (
    Allocate,
    AnyCommand,
    ApplyApplication,
    ApplyPool,
    ApplyReservation,
    ApplySubnet,
    Confirm,
    DeleteApplication,
    DeletePool,
    DeleteReservation,
    DeleteSubnet,
    ImportAllocation,
    ImportAutoPool,
    QuarantineAddress,
    Release,
    ReleaseAllocation,
    RestoreAddress,
    RetainAttachments,
    SignCheckpoint,
)
from ipledger.engine.commit_loop import Look, Reply, Request, loop_time
from ipledger.engine.engine import Engine, Role
from ipledger.engine.patience import Patience
from ipledger.engine.refusals import Reason, Refusal
from ipledger.engine.strict import check_known
from ipledger.engine.telling import tells_all, told
from ipledger.engine.waiting import places
from ipledger.events import names
from ipledger.events.bus import Bus, Message, Subscription
from ipledger.events.position import Position, from_message
from ipledger.events.quoting import quote
from ipledger.events.tasks import end
from ipledger.projections.state import State

_log = logging.getLogger(__name__)

_NODE_COMMANDS: dict[str, Callable[[bytes], Allocate | Release | RetainAttachments | Confirm]] = {
    "allocate": Decoder(Allocate).decode,
    "release": Decoder(Release).decode,
    "retain": Decoder(RetainAttachments).decode,
    "confirm": Decoder(Confirm).decode,
}
_ADMIN_COMMANDS: dict[str, Callable[[bytes], AnyCommand | SignCheckpoint]] = {
    "apply-pool": Decoder(ApplyPool).decode,
    "delete-pool": Decoder(DeletePool).decode,
    "apply-subnet": Decoder(ApplySubnet).decode,
    "delete-subnet": Decoder(DeleteSubnet).decode,
    "apply-reservation": Decoder(ApplyReservation).decode,
    "delete-reservation": Decoder(DeleteReservation).decode,
    "apply-application": Decoder(ApplyApplication).decode,
    "delete-application": Decoder(DeleteApplication).decode,
    "release": Decoder(ReleaseAllocation).decode,
    "import-allocation": Decoder(ImportAllocation).decode,
    "import-auto-pool": Decoder(ImportAutoPool).decode,
    "quarantine": Decoder(QuarantineAddress).decode,
    "restore-address": Decoder(RestoreAddress).decode,
    "checkpoint": Decoder(SignCheckpoint).decode,
}
_QUERIES: dict[str, Callable[[bytes], queries.AnyQuery]] = {
    "pools": Decoder(queries.Pools).decode,
    "subnets": Decoder(queries.Subnets).decode,
    "reservations": Decoder(queries.Reservations).decode,
    "quarantines": Decoder(queries.Quarantines).decode,
    "check": Decoder(queries.Check).decode,
    "applications": Decoder(queries.Applications).decode,
    "allocations": Decoder(queries.AllocationsWhere).decode,
    "status": Decoder(queries.AskStatus).decode,
    "checkpoint": Decoder(queries.AskCheckpoint).decode,
}
_INBOXES = (names.INBOXES, names.ANSWERS_ACROSS_ACCOUNTS)
_PAYLOAD_BYTES_MAX = 1024 * 1024
"""What nats-server lets pass unless told otherwise; an agent takes no longer configuration."""
_decode_attached = Decoder(queries.Attached).decode
_BUSY = TryAgain("the engine does not lead, or its queue is full")
_BEHIND = TryAgain("the engine is behind, and too many wait for it to catch up")
_MANY_LONG = TryAgain("the engine answers as many long questions as it can at once")
LONG_MAX = 4
"""Lists and checks at a time: a list of a million rows takes a second, and 100 MB until then."""
_BEHIND_MAX = 1024
"""Questions that wait for an engine to catch up with what their askers know."""
_QUEUE = "engines"
_encode = msgspec.json.Encoder().encode

T = TypeVar("T", bound=msgspec.Struct)


@dataclass(slots=True)
class EngineService:
    """Subscribes an engine to its realm's commands and queries, as its role has it."""

    bus: Bus
    engine: Engine
    _commands: list[Subscription] = field(default_factory=list[Subscription], init=False)
    _queries: list[Subscription] = field(default_factory=list[Subscription], init=False)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]], init=False)
    patience: Patience = field(default_factory=lambda: Patience(loop_time), init=False)
    _long: int = field(default=0, init=False)
    _tells_all: bool = field(default_factory=tells_all, init=False)

    async def start(self) -> None:
        """Follow the roles of the engine from here on. To be called before it runs."""
        self.engine.on_role = self._on_role
        await self._on_role(self.engine.role)

    async def stop(self) -> None:
        """Receive no more."""
        await self._unsubscribe(self._commands)
        await self._unsubscribe(self._queries)
        await end(*self._tasks)

    async def _on_role(self, role: Role) -> None:
        realm, subscribe = self.engine.realm, self.bus.subscribe
        if role is not Role.LEADER:
            await self._unsubscribe(self._commands)
        elif not self._commands:
            nodes, admin = names.node_command(realm, "*", "*"), names.admin_command(realm, "*")
            self._commands.append(await subscribe(nodes, cb=self._on_node_command))
            self._commands.append(await subscribe(admin, cb=self._on_admin_command))
        if role not in (Role.STANDBY, Role.LEADER):
            await self._unsubscribe(self._queries)
        elif not self._queries:
            asked, shown = names.query(realm, "*"), names.node_command(realm, "*", "show")
            self._queries.append(await subscribe(asked, queue=_QUEUE, cb=self._on_query))
            self._queries.append(await subscribe(shown, queue=_QUEUE, cb=self._on_show))

    async def _unsubscribe(self, subscriptions: list[Subscription]) -> None:
        while subscriptions:
            with contextlib.suppress(nats.errors.Error):
                await subscriptions.pop().unsubscribe()

    async def _on_node_command(self, message: Message) -> None:
        token, verb = message.subject.split(".")[-2:]
        if verb == "show":  # a question, which any replica answers
            return None
        node = names.node_of(token)
        if not self.engine.has_room(node):
            return await self._refuse(message, _BUSY)
        command = _decoded(message, _NODE_COMMANDS.get(verb))
        if isinstance(command, Refused):
            return await self._refuse(message, command)
        reply: Reply = partial(self._reply, message.reply)
        command = replace(command, node=node, received=self.engine.clock())
        if self._tells_all:
            return await self._submit(told(message, command, reply))
        return await self._submit(Request(command, reply, node=node, places=places(message.data)))

    async def _on_show(self, message: Message) -> None:
        """A node reads what it holds, and that alone: its key lets it ask no query."""
        node = names.node_of(message.subject.split(".")[-2])
        if self.engine.role is Role.LEADER and not self.engine.has_room(node):
            return await self._refuse(message, _BUSY)
        query = _decoded(message, _decode_attached)
        if isinstance(query, Refused):
            return await self._refuse(message, query)
        show = partial(_show, replace(query, node=node))
        return await self._look(message, show, from_message(query.at_least), node)

    async def _on_admin_command(self, message: Message) -> None:
        verb = message.subject.rpartition(".")[2]
        command = _decoded(message, _ADMIN_COMMANDS.get(verb))
        if isinstance(command, Refused):
            return await self._refuse(message, command)
        reply: Reply = partial(self._reply, message.reply)
        if isinstance(command, SignCheckpoint):
            return await self._sign_checkpoint(reply)
        return await self._submit(told(message, command, reply))

    async def _submit(self, request: Request) -> None:
        if not self.engine.submit(request):
            await request.reply(_BUSY)

    async def _on_query(self, message: Message) -> None:
        verb = message.subject.rpartition(".")[2]
        query = _decoded(message, _QUERIES.get(verb))
        if isinstance(query, Refused):
            await self._refuse(message, query)
            return
        at_least = from_message(query.at_least)
        if isinstance(query, queries.AllocationsWhere | queries.Applications):
            await self._look_long(message, partial(_find, query), at_least)
        elif isinstance(query, queries.Check):
            await self._look_long(message, partial(self._answer, query), at_least)
        else:
            await self._look(message, partial(self._answer, query), at_least)

    async def _look_long(self, message: Message, look: Look, at_least: Position) -> None:
        """Answer what takes time, or memory until its rows are sent: only a few at once."""
        if self._long >= LONG_MAX:
            return await self._refuse(message, _MANY_LONG)
        self._long += 1
        reply = partial(self._reply_found, message.reply)
        return await self._look(message, look, at_least, reply=reply)

    async def _look(
        self,
        message: Message,
        look: Look,
        at_least: Position,
        node: str = "",
        reply: Reply | None = None,
    ) -> None:
        reply = reply or partial(self._reply, message.reply)
        if not self.engine.is_behind(at_least):
            await self.engine.look(look, at_least, reply, node, places(message.data))
        elif len(self._tasks) < _BEHIND_MAX:  # others must not wait with it
            self._begin(self.engine.look(look, at_least, reply, node, places(message.data)))
        else:
            await reply(_BEHIND)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        task.add_done_callback(self._tasks.remove)

    async def _sign_checkpoint(self, reply: Reply) -> None:
        """Have the next commit open with a checkpoint, and answer with it."""
        if self.engine.checkpoints is None:
            refusal = Refusal(Reason.BAD_REQUEST, "this engine has no key to sign with")
            return await reply(Refused("", refusal))
        self.engine.checkpoints.ask()
        return await self._submit(Request(_checkpoint, reply))

    def _answer(self, query: queries.AnyQuery, state: State) -> AnyAnswer:
        position = str(state.position)
        match query:
            case queries.Pools():
                pools = reading.pools(state, query)
                return Page(position, pools=pools, exhaustion=self.engine.exhaustion(pools))
            case queries.Subnets():
                return Page(position, subnets=reading.subnets(state, query))
            case queries.Reservations():
                return Page(position, reservations=reading.reservations(state, query))
            case queries.Quarantines():
                return Page(position, quarantines=reading.quarantines(state, query))
            case queries.Check():
                return Checked(position, dry_run.check(state, query.commands))
            case queries.AskCheckpoint():
                return _checkpoint(state)
            case _:
                return self.engine.status(state)

    async def _refuse(self, message: Message, answer: Refused | TryAgain) -> None:
        """Answer a sender whose message is not served, unless it was told often enough."""
        sender = message.subject.rpartition(".")[0].encode()
        if self.patience.allows(sender, message.data):
            await self._reply(message.reply, answer)

    async def _reply(self, inbox: str, answer: AnyAnswer) -> None:
        if not inbox.startswith(_INBOXES):
            if inbox:
                _log.warning("not answered: %s is no inbox", quote(inbox))
            return
        try:
            for part in self._parts(answer):
                await self.bus.publish(inbox, part)
        except nats.errors.Error as error:
            _log.warning("an answer could not be sent: %r", error)

    def _parts(self, answer: AnyAnswer) -> Iterator[bytes]:
        """An answer as messages that the server takes; only rows are as many as it needs."""
        payload = _encode(answer)
        if len(payload) <= self.bus.max_payload:
            yield payload
        elif isinstance(answer, Page) and (halves := reading.halves(answer)):
            for half in halves:
                yield from self._parts(half)
        elif isinstance(answer, Refused) and answer.refusal.decision:
            short = msgspec.structs.replace(answer.refusal, decision=())
            yield from self._parts(msgspec.structs.replace(answer, refusal=short))
        else:
            _log.error("an answer of %d bytes is more than the server takes", len(payload))
            what = f"the answer has {len(payload)} bytes, more than the NATS server takes"
            yield _encode(Refused("", Refusal(Reason.BAD_REQUEST, what)))

    async def _reply_found(
        self, inbox: str, found: tuple[str, reading.Found | Refusal] | TryAgain | Refused
    ) -> None:
        answer: AnyAnswer
        match found:
            case (position, Refusal() as refusal):
                answer = Refused(position, refusal)
            case (position, rows) if len(rows) > reading.PAGE_ROWS:
                return self._begin(self._send_pages(inbox, position, rows))
            case (position, rows):
                answer = next(reading.pages(position, rows))
            case answer:
                pass
        self._long -= 1
        return await self._reply(inbox, answer)

    async def _send_pages(self, inbox: str, position: str, rows: reading.Found) -> None:
        try:
            for page in reading.pages(position, rows):
                await self._reply(inbox, page)
                await asyncio.sleep(0)  # commands go first
        finally:
            self._long -= 1


def _decoded(message: Message, decode: Callable[[bytes], T] | None) -> T | Refused:
    try:
        if decode is None:
            raise msgspec.ValidationError(f"unknown verb in subject {quote(message.subject)}")
        if len(message.data) > _PAYLOAD_BYTES_MAX:
            size = f"{len(message.data)} bytes, more than {_PAYLOAD_BYTES_MAX}"
            raise msgspec.ValidationError(f"the payload has {size}")
        decoded = decode(message.data)
        check_known(type(decoded), message.data)
        return decoded
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Refused("", Refusal(Reason.BAD_REQUEST, str(error)))


def _checkpoint(state: State) -> Checkpointed:
    return Checkpointed(str(state.position), state.checkpoint)


def _show(query: queries.Attached, state: State) -> Page:
    rows = reading.attached(state, query)
    return next(reading.pages(str(state.position), rows))


def _find(
    query: queries.AllocationsWhere | queries.Applications, state: State
) -> tuple[str, reading.Found | Refusal]:
    if isinstance(query, queries.Applications):
        return str(state.position), reading.applications(state, query)
    return str(state.position), reading.allocations(state, query)
