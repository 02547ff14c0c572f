"""Two connections by which nodes reach an engine, so that one that floods stands before no other.

nats-server keeps one line for each connection, in which everything waits in the order in which it
came. As long as nobody floods, all are heard on the clear lane. When a node sends so much that it
is not answered any more, each other one gets a subscription of its own there, and who has none is
heard on the crowd's lane, until there was quiet for a while. On neither lane anything is made of
what nobody will read. (ADR 110.)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

import nats.errors

from ipledger.events import names
from ipledger.events.bus import Message, Subscription
from ipledger.events.client import Client
from ipledger.events.tasks import end

_log = logging.getLogger(__name__)

Handler = Callable[[Message], Awaitable[None]]

_NODES_MAX = 4096
"""Nodes with a subscription of their own, at some kilobytes each; the others are in the crowd."""
_BOTH_S = 1.0
"""How long a node is heard on both lanes, until the servers surely know of its own one."""
_PAUSE_S = 0.005
"""How long the crowd waits when a number of its messages were dropped."""


def _nobody(sender: bytes) -> bool:
    return False


@dataclass(slots=True, eq=False)
class _Node:
    """A node apart from the crowd. `both` has hashes of what it sent while both lanes hear it."""

    own: Subscription | None = None
    both: set[int] | None = field(default_factory=set[int])

    def is_repeated(self, message: Message) -> bool:
        """Whether a message was heard on the other lane before."""
        if self.both is None or not message.reply:
            return False
        heard = hash((message.subject, message.reply, message.data))
        is_repeated = heard in self.both
        self.both.add(heard)
        return is_repeated


@dataclass(slots=True)
class Lanes:
    """A `Bus`: what it does not say itself goes over the clear lane.

    `is_over` tells whether a node, by its subject without the verb, is not answered any more.
    """

    clear: Client
    crowd: Client
    realm: str
    is_over: Callable[[bytes], bool] = _nobody
    quiet_s: float = 10.0

    @property
    def is_connected(self) -> bool:
        """See `Bus.is_connected`."""
        return self.clear.is_connected

    @property
    def max_payload(self) -> int:
        """See `Bus.max_payload`."""
        return self.clear.max_payload

    def new_inbox(self) -> str:
        """See `Bus.new_inbox`."""
        return self.clear.new_inbox()

    async def publish(
        self,
        subject: str,
        payload: bytes = b"",
        reply: str = "",
        *,
        headers: dict[str, str] | None = None,
    ) -> None:
        """See `Bus.publish`."""
        await self.clear.publish(subject, payload, reply, headers=headers)

    async def request(
        self,
        subject: str,
        payload: bytes,
        timeout: float,  # noqa: ASYNC109  # as nats-py has it
        *,
        headers: dict[str, str] | None = None,
    ) -> Message:
        """See `Bus.request`."""
        return await self.clear.request(subject, payload, timeout, headers=headers)

    async def subscribe(
        self, subject: str, queue: str = "", cb: Handler | None = None
    ) -> Subscription:
        """See `Bus.subscribe`."""
        if not subject.startswith(names.node_commands(self.realm)):
            return await self.clear.subscribe(subject, queue, cb)
        if queue or cb is None:
            return await self.crowd.subscribe(subject, queue, cb)
        nodes = _Nodes(self, subject, cb)
        await nodes.start()
        return nodes


class _Nodes:
    """The subscription to what all nodes ask."""

    def __init__(self, lanes: Lanes, subject: str, handler: Handler) -> None:
        self._lanes = lanes
        self._subject = subject
        self._handler = handler
        self._everybody: Subscription | None = None
        self._heard: dict[str, None] = {}
        self._apart: dict[bytes, _Node] = {}
        self._prefix = names.node_commands(lanes.realm).encode()
        self._flooded: dict[bytes, float] = {}
        self._keeping_apart: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Hear all on the clear lane."""
        self._lanes.clear.is_deaf_to = self._is_turned_away
        self._lanes.crowd.is_deaf_to = self._is_passed_over
        self._lanes.crowd.pause_s = _PAUSE_S
        self._everybody = await self._lanes.clear.take(self._subject, self._hear)

    async def next_msg(self, timeout: float) -> Message:  # noqa: ASYNC109  # as nats-py has it
        """See `Subscription`."""
        assert self._everybody is not None
        return await self._everybody.next_msg(timeout)

    async def unsubscribe(self) -> None:
        """See `Subscription`."""
        self._lanes.clear.is_deaf_to = self._lanes.crowd.is_deaf_to = _nobody
        if self._keeping_apart is not None:
            await end(self._keeping_apart)
        await _unsubscribe(self._everybody)
        await asyncio.gather(*self._ending)

    async def _hear(self, message: Message) -> None:
        sender = message.subject.rpartition(".")[0]
        self._heard[sender] = None
        if len(self._heard) > _NODES_MAX:
            del self._heard[next(iter(self._heard))]
        node = self._apart.get(sender.encode()) if self._apart else None
        if node is None or not node.is_repeated(message):
            await self._handler(message)

    def _is_turned_away(self, subject: bytes) -> bool:
        """Whether the clear lane drops what came on a subject. Its node is in the crowd then."""
        sender = subject.rpartition(b".")[0]
        if not self._lanes.is_over(sender) or not sender.startswith(self._prefix):
            return False
        self._flooded[sender] = _now()
        if self._keeping_apart is None:
            node = names.node_of(sender.rpartition(b".")[2].decode())
            _log.warning("node %s floods: others are heard on a connection of their own", node)
            self._keeping_apart = asyncio.create_task(self._keep_apart())
        elif sender in self._apart:
            self._join_crowd(sender)
        return True

    def _is_passed_over(self, subject: bytes) -> bool:
        """Whether the crowd's lane drops what came on a subject."""
        sender = subject.rpartition(b".")[0]
        node = self._apart.get(sender)
        if node is not None and node.both is None:
            return self._lanes.clear.is_connected and not subject.endswith(b".show")
        is_over = self._lanes.is_over(sender)
        if is_over:
            self._flooded[sender] = _now()
        return is_over

    async def _keep_apart(self) -> None:
        """Have the others on the clear lane alone, until nobody floods any more."""
        lanes = self._lanes
        crowd = await lanes.crowd.subscribe(self._subject, cb=self._hear_crowd)
        try:
            for sender in tuple(self._heard):
                await self._part(sender.encode())
            await _flush(lanes.crowd, lanes.clear)
            await _unsubscribe(self._everybody)
            await self._quiet()
            for node in self._apart.values():
                node.both = set()
            self._everybody = await lanes.clear.take(self._subject, self._hear)
            await _flush(lanes.clear)
        finally:
            self._keeping_apart = None
            self._flooded.clear()
            await _unsubscribe(crowd)
            for apart in tuple(self._apart):
                self._join_crowd(apart)

    async def _quiet(self) -> None:
        while (left_s := max(self._flooded.values()) + self._lanes.quiet_s - _now()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left_s)

    async def _hear_crowd(self, message: Message) -> None:
        node = await self._part(message.subject.rpartition(".")[0].encode())
        if node is None or not node.is_repeated(message):
            await self._handler(message)

    async def _part(self, sender: bytes) -> _Node | None:
        """Have a node on the clear lane, if there is room and it does not flood."""
        known = self._apart.get(sender)
        if known is not None or len(self._apart) >= _NODES_MAX:
            return known
        if sender in self._flooded and _now() < self._flooded[sender] + self._lanes.quiet_s:
            return None
        node = self._apart[sender] = _Node()
        hear = partial(self._hear_own, node)
        node.own = await self._lanes.clear.take(f"{sender.decode()}.*", hear)
        if self._apart.get(sender) is node:
            asyncio.get_running_loop().call_later(_BOTH_S, _leave_crowd, node)
        else:  # it has flooded meanwhile
            await _unsubscribe(node.own)
        return node

    async def _hear_own(self, node: _Node, message: Message) -> None:
        if not node.is_repeated(message):
            await self._handler(message)

    def _join_crowd(self, sender: bytes) -> None:
        own = self._apart.pop(sender).own
        task = asyncio.create_task(_unsubscribe(own))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


def _leave_crowd(node: _Node) -> None:
    node.both = None


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _flush(*lanes: Client) -> None:
    """Wait until the servers know of all subscriptions."""
    for lane in lanes:
        with contextlib.suppress(nats.errors.Error):
            await lane.flush()


async def _unsubscribe(subscription: Subscription | None) -> None:
    if subscription is not None:
        with contextlib.suppress(nats.errors.Error):
            await subscription.unsubscribe()
