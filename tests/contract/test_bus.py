"""The contract of the bus port (events/bus.py), which NATS and its twin are held to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import nats
import nats.errors
import pytest
import pytest_asyncio
from simulation.calm import calm_net
from simulation.loop import Owner
from support.memory_bus import MemoryBus, MemoryNet

from ipledger.events.bus import Bus, Message
from ipledger.events.embedded import EmbeddedServer

DEADLINE_S = 30.0


class Recorder:
    """A callback that keeps what it was given."""

    def __init__(self) -> None:
        self.come: asyncio.Queue[Message] = asyncio.Queue()

    async def take(self, message: Message) -> None:
        self.come.put_nowait(message)

    async def next(self) -> Message:
        return await asyncio.wait_for(self.come.get(), DEADLINE_S)


async def settled(bus: Bus) -> None:
    """Everything that the bus was asked before has reached the server."""
    inbox = bus.new_inbox()
    subscription = await bus.subscribe(inbox)
    await bus.publish(inbox, b"settled")
    await subscription.next_msg(DEADLINE_S)
    await subscription.unsubscribe()


class BusContract:
    """What holds for every bus. A subclass gives the fixture `buses`, two that are connected."""

    async def test_whoever_is_subscribed_receives_in_order(
        self, buses: tuple[Bus, Bus], realm: str
    ) -> None:
        here, there = buses
        recorder = Recorder()
        await there.subscribe(f"{realm}.*.b", cb=recorder.take)
        await settled(there)
        for n in range(5):
            await here.publish(f"{realm}.a{n}.b", str(n).encode())
        await here.publish(f"{realm}.a.c", b"other")
        come = [await recorder.next() for _ in range(5)]
        assert [m.subject for m in come] == [f"{realm}.a{n}.b" for n in range(5)]
        assert [m.data for m in come] == [b"0", b"1", b"2", b"3", b"4"]
        assert recorder.come.empty()

    async def test_headers_go_with_the_payload(self, buses: tuple[Bus, Bus], realm: str) -> None:
        here, there = buses
        recorder = Recorder()
        await there.subscribe(realm, cb=recorder.take)
        await settled(there)
        await here.publish(realm, b"x", headers={"traceparent": "00-1"})
        await here.publish(realm, b"y")
        come = [await recorder.next() for _ in range(2)]
        assert [(m.data, m.headers) for m in come] == [
            (b"x", {"traceparent": "00-1"}),
            (b"y", None),
        ]

    async def test_headers_go_with_a_request(self, buses: tuple[Bus, Bus], realm: str) -> None:
        here, there = buses

        async def answer(message: Message) -> None:
            assert message.headers is not None
            await there.publish(message.reply, message.headers["a"].encode())

        await there.subscribe(realm, cb=answer)
        await settled(there)
        answered = await here.request(realm, b"", DEADLINE_S, headers={"a": "b"})
        assert answered.data == b"b"

    async def test_every_subscription_without_a_queue_receives(
        self, buses: tuple[Bus, Bus], realm: str
    ) -> None:
        recorders = Recorder(), Recorder()
        for bus, recorder in zip(buses, recorders, strict=True):
            await bus.subscribe(realm, cb=recorder.take)
            await settled(bus)
        await buses[0].publish(realm, b"x")
        assert [(await recorder.next()).data for recorder in recorders] == [b"x", b"x"]

    async def test_of_a_queue_one_receives(self, buses: tuple[Bus, Bus], realm: str) -> None:
        here = buses[0]
        recorder = Recorder()
        for bus in buses:
            await bus.subscribe(realm, queue="q", cb=recorder.take)
            await settled(bus)
        for n in range(10):
            await here.publish(realm, str(n).encode())
        come = [await recorder.next() for _ in range(10)]
        assert sorted(m.data for m in come) == [str(n).encode() for n in range(10)]
        await settled(here)
        assert recorder.come.empty()

    async def test_a_request_is_answered(self, buses: tuple[Bus, Bus], realm: str) -> None:
        here, there = buses

        async def answer(message: Message) -> None:
            await there.publish(message.reply, message.data + b"!")

        await there.subscribe(realm, cb=answer)
        await settled(there)
        assert (await here.request(realm, b"hello", timeout=DEADLINE_S)).data == b"hello!"

    async def test_a_request_to_nobody_fails_at_once(
        self, buses: tuple[Bus, Bus], realm: str
    ) -> None:
        with pytest.raises(nats.errors.NoRespondersError):
            await buses[0].request(realm, b"", timeout=DEADLINE_S)

    async def test_a_publish_to_nobody_is_answered_with_nothing(
        self, buses: tuple[Bus, Bus], realm: str
    ) -> None:
        inbox = buses[0].new_inbox()
        answers = await buses[0].subscribe(inbox)
        await buses[0].publish(realm, b"x", reply=inbox)
        assert (await answers.next_msg(DEADLINE_S)).data == b""

    async def test_a_request_that_nobody_answers_times_out(
        self, buses: tuple[Bus, Bus], realm: str
    ) -> None:
        await buses[1].subscribe(realm)
        await settled(buses[1])
        with pytest.raises(nats.errors.TimeoutError):
            await buses[0].request(realm, b"", timeout=0.01)

    async def test_who_has_unsubscribed_receives_no_more(
        self, buses: tuple[Bus, Bus], realm: str
    ) -> None:
        here, there = buses
        recorder = Recorder()
        subscription = await there.subscribe(realm, cb=recorder.take)
        await subscription.unsubscribe()
        await settled(there)
        with pytest.raises(nats.errors.NoRespondersError):
            await here.request(realm, b"", timeout=DEADLINE_S)
        with pytest.raises(nats.errors.BadSubscriptionError):
            await subscription.unsubscribe()

    async def test_a_payload_that_is_too_long_is_not_sent(
        self, buses: tuple[Bus, Bus], realm: str
    ) -> None:
        with pytest.raises(nats.errors.MaxPayloadError):
            await buses[0].publish(realm, b"x" * (buses[0].max_payload + 1))

    async def test_inboxes_differ(self, buses: tuple[Bus, Bus]) -> None:
        assert len({bus.new_inbox() for bus in buses for _ in range(100)}) == 200

    async def test_it_is_connected(self, buses: tuple[Bus, Bus]) -> None:
        assert all(bus.is_connected for bus in buses)


class TestMemoryBus(BusContract):
    @pytest.fixture
    def buses(self) -> tuple[Bus, Bus]:
        net = MemoryNet()
        return MemoryBus(net), MemoryBus(net)


class TestSimulatedBus(BusContract):
    @pytest.fixture
    async def buses(self) -> tuple[Bus, Bus]:
        net = calm_net()
        return net.connect(Owner(), "here"), net.connect(Owner(), "there")


class TestNats(BusContract):
    @pytest_asyncio.fixture
    async def buses(self, nats_server: EmbeddedServer) -> AsyncIterator[tuple[Bus, Bus]]:
        clients = [await nats.connect(nats_server.url) for _ in range(2)]
        yield clients[0], clients[1]
        for client in clients:
            await client.close()
