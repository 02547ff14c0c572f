"""What nats-py's client is given here (events/client.py): messages taken as they are read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import pytest

from ipledger.events.bus import Message
from ipledger.events.client import Client
from ipledger.events.embedded import EmbeddedServer

DEADLINE_S = 30.0


@dataclass
class Taking:
    """A client, what it has taken, and the errors that it told of. It fails at `bad`."""

    client: Client
    come: asyncio.Queue[Message] = field(default_factory=asyncio.Queue[Message])
    errors: list[Exception] = field(default_factory=list[Exception])

    async def take(self, message: Message) -> None:
        """The callback."""
        if message.data == b"bad":
            raise ValueError("bad")
        self.come.put_nowait(message)

    async def note(self, error: Exception) -> None:
        """Keep an error."""
        self.errors.append(error)

    async def next(self) -> Message:
        """What was taken next."""
        return await asyncio.wait_for(self.come.get(), DEADLINE_S)


@pytest.fixture
async def taking(nats_server: EmbeddedServer) -> AsyncGenerator[Taking]:
    made = Taking(Client())
    await made.client.connect(nats_server.url, error_cb=made.note)
    yield made
    await made.client.close()


async def test_a_message_is_taken_with_all_that_belongs_to_it(taking: Taking, realm: str) -> None:
    await taking.client.take(f"{realm}.*", taking.take)
    headers = {"traceparent": "00-ab", "other": "two words"}
    await taking.client.publish(f"{realm}.a", b"1", "_INBOX.x", headers=headers)
    await taking.client.publish(f"{realm}.b", b"2")
    first, second = await taking.next(), await taking.next()
    assert (first.subject, first.reply, first.data) == (f"{realm}.a", "_INBOX.x", b"1")
    assert first.headers == headers
    assert (second.subject, second.reply, second.data) == (f"{realm}.b", "", b"2")
    assert second.headers is None


async def test_what_a_callback_raises_is_told_and_reading_goes_on(
    taking: Taking, realm: str
) -> None:
    await taking.client.take(realm, taking.take)
    await taking.client.publish(realm, b"bad")
    await taking.client.publish(realm, b"good")
    assert (await taking.next()).data == b"good"
    assert [str(error) for error in taking.errors] == ["bad"]


async def test_nothing_is_taken_behind_the_end_of_a_subscription(
    taking: Taking, realm: str
) -> None:
    taken = await taking.client.take(realm, taking.take)
    await taken.unsubscribe()
    await taking.client.publish(realm, b"late")
    await taking.client.flush()
    await taking.client.take(realm, taking.take)
    await taking.client.publish(realm, b"in time")
    assert (await taking.next()).data == b"in time"
    assert taking.come.empty()
