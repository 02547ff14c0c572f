"""The command and query service: the engine's face on NATS.

A command's node is the one in its subject, since NATS permissions allowed that; what the
payload says of a node is overwritten (DESIGN section 6).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import msgspec
import nats.errors
from msgspec.json import Decoder
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from ipledger.engine import dry_run, queries
from ipledger.engine.answers import AnyAnswer, Checked, Page, Refused, TryAgain
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
    Release,
    ReleaseAllocation,
    RetainAttachments,
)
from ipledger.engine.commit_loop import Look, Reply, Request
from ipledger.engine.engine import Engine
from ipledger.engine.refusals import Reason, Refusal
from ipledger.events import names
from ipledger.projections.allocations import Allocation
from ipledger.projections.state import State

_log = logging.getLogger(__name__)

_NODE_COMMANDS: dict[str, Callable[[bytes], Allocate | Release | RetainAttachments | Confirm]] = {
    "allocate": Decoder(Allocate).decode,
    "release": Decoder(Release).decode,
    "retain": Decoder(RetainAttachments).decode,
    "confirm": Decoder(Confirm).decode,
}
_ADMIN_COMMANDS: dict[str, Callable[[bytes], AnyCommand]] = {
    "apply-pool": Decoder(ApplyPool).decode,
    "delete-pool": Decoder(DeletePool).decode,
    "apply-subnet": Decoder(ApplySubnet).decode,
    "delete-subnet": Decoder(DeleteSubnet).decode,
    "apply-reservation": Decoder(ApplyReservation).decode,
    "delete-reservation": Decoder(DeleteReservation).decode,
    "apply-application": Decoder(ApplyApplication).decode,
    "delete-application": Decoder(DeleteApplication).decode,
    "release": Decoder(ReleaseAllocation).decode,
}
_QUERIES: dict[str, Callable[[bytes], queries.AnyQuery]] = {
    "pools": Decoder(queries.Pools).decode,
    "subnets": Decoder(queries.Subnets).decode,
    "reservations": Decoder(queries.Reservations).decode,
    "applications": Decoder(queries.Applications).decode,
    "check": Decoder(queries.Check).decode,
    "allocations": Decoder(queries.AllocationsWhere).decode,
    "status": Decoder(queries.AskStatus).decode,
}
_BUSY = TryAgain("the engine does not lead yet, or its queue is full")
_encode = msgspec.json.Encoder().encode

T = TypeVar("T")


@dataclass(slots=True)
class EngineService:
    """Subscribes an engine to its realm's commands and queries."""

    nc: NatsClient
    engine: Engine
    _subscriptions: list[Subscription] = field(default_factory=list[Subscription], init=False)
    _sending: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]], init=False)

    async def start(self) -> None:
        """Begin to receive."""
        realm = self.engine.realm
        handlers: dict[str, Callable[[Msg], Awaitable[None]]] = {
            names.node_command(realm, "*", "*"): self._on_node_command,
            names.admin_command(realm, "*"): self._on_admin_command,
            names.query(realm, "*"): self._on_query,
        }
        for subject, handler in handlers.items():
            self._subscriptions.append(await self.nc.subscribe(subject, cb=handler))
        await self.nc.flush()

    async def stop(self) -> None:
        """Receive no more."""
        for subscription in self._subscriptions:
            await subscription.unsubscribe()
        for task in self._sending:
            task.cancel()

    async def _on_node_command(self, message: Msg) -> None:
        node, verb = message.subject.split(".")[-2:]
        command = await self._decode(message, _NODE_COMMANDS.get(verb))
        if command is not None:
            command = msgspec.structs.replace(command, node=names.node_of(node))
            await self._submit(command, partial(self._reply, message.reply))

    async def _on_admin_command(self, message: Msg) -> None:
        verb = message.subject.rpartition(".")[2]
        command = await self._decode(message, _ADMIN_COMMANDS.get(verb))
        if command is not None:
            await self._submit(command, partial(self._reply, message.reply))

    async def _on_query(self, message: Msg) -> None:
        verb = message.subject.rpartition(".")[2]
        query = await self._decode(message, _QUERIES.get(verb))
        if isinstance(query, queries.AllocationsWhere):
            await self._submit(partial(_find, query), partial(self._reply_found, message.reply))
        elif query is not None:
            look = partial(self._answer, query)
            await self._submit(look, partial(self._reply, message.reply))

    def _answer(self, query: queries.AnyQuery, state: State) -> AnyAnswer:
        position = str(state.position)
        match query:
            case queries.Pools():
                return Page(position, pools=queries.pools(state, query))
            case queries.Subnets():
                return Page(position, subnets=queries.subnets(state, query))
            case queries.Reservations():
                return Page(position, reservations=queries.reservations(state, query))
            case queries.Applications():
                rows, last = queries.applications(state, query)
                return Page(position, applications=rows, last=last)
            case queries.Check():
                return Checked(position, dry_run.check(state, query.commands))
            case _:
                return self.engine.status(state)

    async def _submit(self, work: AnyCommand | Look, reply: Reply) -> None:
        if not self.engine.submit(Request(work, reply)):
            await reply(_BUSY)

    async def _decode(self, message: Msg, decode: Callable[[bytes], T] | None) -> T | None:
        try:
            if decode is None:
                raise msgspec.ValidationError(f"unknown verb in subject {message.subject!r}")
            return decode(message.data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            refusal = Refusal(Reason.BAD_REQUEST, str(error))
            await self._reply(message.reply, Refused("", refusal))
            return None

    async def _reply(self, inbox: str, answer: AnyAnswer) -> None:
        if not inbox:
            return
        try:
            await self.nc.publish(inbox, _encode(answer))
        except nats.errors.Error as error:
            _log.warning("an answer could not be sent: %r", error)

    async def _reply_found(
        self, inbox: str, found: tuple[str, list[Allocation] | Refusal] | TryAgain
    ) -> None:
        if isinstance(found, TryAgain):
            return await self._reply(inbox, found)
        position, rows = found
        if isinstance(rows, Refusal):
            return await self._reply(inbox, Refused(position, rows))
        if len(rows) <= queries.PAGE_ROWS:
            return await self._reply(inbox, next(queries.pages(position, rows)))
        task = asyncio.create_task(self._send_pages(inbox, position, rows))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        return None

    async def _send_pages(self, inbox: str, position: str, rows: list[Allocation]) -> None:
        for page in queries.pages(position, rows):
            await self._reply(inbox, page)
            await asyncio.sleep(0)  # commands go first


def _find(query: queries.AllocationsWhere, state: State) -> tuple[str, list[Allocation] | Refusal]:
    return str(state.position), queries.allocations(state, query)
