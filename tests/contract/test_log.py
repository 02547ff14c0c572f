"""The contract of the log port (events/log.py), which every implementation is held to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import cast

import pytest
from nats.aio.client import Client as NatsClient
from simulation.calm import calm_net
from simulation.loop import Owner
from simulation.stream import Stream

from ipledger.events.direct_log import DirectLog
from ipledger.events.jetstream import JetStreamLog
from ipledger.events.log import Appended, Conflict, Entry, Log
from ipledger.events.memory import MemoryLog


async def entries(log: Log, after: int = 0) -> list[Entry]:
    return [entry async for entry in log.read(after)]


def following(log: Log, after: int) -> AsyncGenerator[Entry]:
    """What follows, as the generator that it is, so that a test can close it."""
    return cast("AsyncGenerator[Entry]", log.follow(after))


async def filled(log: Log, count: int) -> list[Entry]:
    """Append `count` entries and return them."""
    made = [Entry(n, f"payload {n}".encode()) for n in range(1, count + 1)]
    for entry in made:
        outcome = await log.append(entry.payload, after=entry.sequence - 1)
        assert outcome == Appended(entry.sequence)
    return made


class LogContract:
    """What holds for every log. A subclass gives the fixture `log`, an empty one."""

    async def test_an_empty_log_has_no_last_entry_and_nothing_to_read(self, log: Log) -> None:
        assert await log.last() == 0
        assert await entries(log) == []

    async def test_sequences_start_at_one_and_rise_by_one(self, log: Log) -> None:
        assert await log.append(b"one", after=0) == Appended(1)
        assert await log.append(b"two", after=1) == Appended(2)
        assert await log.last() == 2

    async def test_payloads_are_kept_byte_for_byte(self, log: Log) -> None:
        payload = bytes(range(256)) + b'{"not": "touched"}\r\n\0'
        await log.append(payload, after=0)
        assert await entries(log) == [Entry(1, payload)]

    async def test_an_append_after_an_older_entry_conflicts_and_changes_nothing(
        self, log: Log
    ) -> None:
        made = await filled(log, 3)
        assert await log.append(b"other", after=1) == Conflict(3)
        assert await entries(log) == made

    async def test_an_append_on_a_log_that_is_not_empty_as_if_it_were_conflicts(
        self, log: Log
    ) -> None:
        await filled(log, 1)
        assert await log.append(b"other", after=0) == Conflict(1)

    async def test_an_append_after_an_entry_that_is_not_there_yet_conflicts(self, log: Log) -> None:
        await filled(log, 2)
        assert await log.append(b"other", after=5) == Conflict(2)
        assert await log.last() == 2

    async def test_the_same_append_again_has_the_sequence_it_has(self, log: Log) -> None:
        assert await log.append(b"one", after=0) == Appended(1)
        assert await log.append(b"one", after=0) == Appended(1)
        assert await log.last() == 1

    async def test_the_same_append_again_behind_others_has_the_sequence_it_has(
        self, log: Log
    ) -> None:
        made = await filled(log, 3)
        assert await log.append(made[1].payload, after=1) == Appended(2)
        assert await entries(log) == made

    async def test_the_same_bytes_after_another_entry_are_another_entry(self, log: Log) -> None:
        assert await log.append(b"same", after=0) == Appended(1)
        assert await log.append(b"same", after=1) == Appended(2)

    async def test_reading_begins_behind_the_sequence_given(self, log: Log) -> None:
        made = await filled(log, 5)
        assert await entries(log, after=3) == made[3:]
        assert await entries(log, after=5) == []

    async def test_one_entry_is_got_by_its_sequence(self, log: Log) -> None:
        made = await filled(log, 3)
        assert await log.get(2) == made[1]
        assert [await log.get(sequence) for sequence in (0, 4)] == [None, None]

    async def test_following_gives_the_old_entries_and_then_the_new_ones(self, log: Log) -> None:
        made = await filled(log, 2)
        seen: list[Entry] = []
        follower = following(log, 0)
        async with asyncio.timeout(30):
            for _ in range(2):
                seen.append(await anext(follower))
            await log.append(b"new", after=2)
            seen.append(await anext(follower))
        await follower.aclose()
        assert seen == [*made, Entry(3, b"new")]

    async def test_a_follower_in_no_hurry_misses_nothing(self, log: Log) -> None:
        follower = cast("AsyncGenerator[Entry]", log.follow(0, pause_s=0.01))
        made: list[Entry] = []
        async with asyncio.timeout(30):
            for number in range(1, 6):
                made.append(Entry(number, b"%d" % number))
                await log.append(made[-1].payload, after=number - 1)
                if number % 2:
                    assert await anext(follower) == made[number // 2]
        await follower.aclose()

    async def test_following_an_empty_log_waits_for_its_first_entry(self, log: Log) -> None:
        follower = following(log, 0)
        waiting = asyncio.ensure_future(anext(follower))
        await log.append(b"first", after=0)
        async with asyncio.timeout(30):
            assert await waiting == Entry(1, b"first")
        await follower.aclose()

    async def test_following_begins_behind_the_sequence_given(self, log: Log) -> None:
        made = await filled(log, 4)
        follower = following(log, 2)
        async with asyncio.timeout(30):
            assert [await anext(follower), await anext(follower)] == made[2:]
        await follower.aclose()

    async def test_of_concurrent_appenders_exactly_one_wins_each_sequence(self, log: Log) -> None:
        winners: dict[int, bytes] = {}

        async def appender(name: int) -> None:
            after = 0
            while after < 10:
                payload = f"{name} after {after}".encode()
                outcome = await log.append(payload, after=after)
                if isinstance(outcome, Appended):
                    assert outcome.sequence == after + 1
                    assert outcome.sequence not in winners
                    winners[outcome.sequence] = payload
                    after = outcome.sequence
                else:
                    assert outcome.last > after
                    after = outcome.last

        await asyncio.gather(*(appender(name) for name in range(5)))
        assert await entries(log) == [Entry(*won) for won in sorted(winners.items())]

    async def test_a_payload_of_the_longest_length_is_taken(self, log: Log) -> None:
        payload = b"x" * log.payload_bytes_max
        traceparent = "00-" + 32 * "a" + "-" + 16 * "b" + "-01"
        assert await log.append(payload, after=0, traceparent=traceparent) == Appended(1)
        assert [(e.sequence, e.payload) for e in await entries(log)] == [(1, payload)]


class TestMemoryLog(LogContract):
    @pytest.fixture
    def log(self) -> Log:
        return MemoryLog()


class TestJetStreamLogOnASimulatedStream(LogContract):
    @pytest.fixture
    async def log(self) -> Log:
        net = calm_net()
        return cast("Log", Stream(net).log(net.connect(Owner(), "engine")))


class ManyEntriesContract(LogContract):
    """What holds for a log whose entries come over a connection."""

    async def test_reading_goes_over_more_entries_than_one_fetch_brings(self, log: Log) -> None:
        made = await filled(log, 1203)
        assert await entries(log) == made

    async def test_reading_goes_over_more_bytes_than_a_connection_holds(self, log: Log) -> None:
        """nats-server drops a client for whom 64 MB wait."""
        payload = b"x" * (log.payload_bytes_max - 10)
        made = [Entry(n, payload + b"%d" % n) for n in range(1, 151)]
        for entry in made:
            assert await log.append(entry.payload, after=entry.sequence - 1)
        seen = 0
        async for entry in log.read(0):
            assert entry == made[seen]
            seen += 1
        assert seen == len(made)


class TestJetStreamLog(ManyEntriesContract):
    @pytest.fixture
    async def log(self, nc: NatsClient, realm: str) -> Log:
        return cast("Log", await JetStreamLog.create(nc, realm))


class _Written(DirectLog):
    """A log that is written as an engine does, and read as an auditor does."""

    @property
    def payload_bytes_max(self) -> int:
        return JetStreamLog.of(self.nc, self.realm).payload_bytes_max

    async def append(
        self, payload: bytes, *, after: int, traceparent: str = ""
    ) -> Appended | Conflict:
        writer = JetStreamLog.of(self.nc, self.realm)
        return await writer.append(payload, after=after, traceparent=traceparent)


class TestDirectLog(ManyEntriesContract):
    @pytest.fixture
    async def log(self, nc: NatsClient, realm: str) -> Log:
        await JetStreamLog.create(nc, realm)
        return cast("Log", _Written(nc, realm))
