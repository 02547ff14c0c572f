"""Following, taking over, being deposed: engines on a log and a bus in memory, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest
from support.desk import replay
from support.gated_log import GatedLog
from support.memory_bus import MemoryBus
from support.realm import REALM, Member, Realm, realm
from support.text import command
from support.virtual_time import in_virtual_time

from ipledger.engine.answers import Allocated, Applied, Released, TryAgain
from ipledger.engine.client import EngineUnavailableError
from ipledger.engine.commands import Allocate, AnyCommand, ApplyPool, Release
from ipledger.engine.commit_loop import Request
from ipledger.engine.engine import Role
from ipledger.engine.heartbeats import INTERVAL_S, JITTER_S, SILENCE_S, Heartbeat, Heartbeats
from ipledger.engine.queries import AllocationsWhere
from ipledger.events import commit, names
from ipledger.events.log import Entry, LogUnavailableError
from ipledger.events.memory import MemoryLog
from ipledger.events.position import START, Position
from ipledger.events.types import LeadershipTaken
from ipledger.projections.fold import BrokenLogError


def pool(name: str, third: int) -> ApplyPool:
    made = command(f"pool {name} 10.1.{third}.0/24 ips=10.1.{third}.1-10.1.{third}.200 default")
    assert isinstance(made, ApplyPool)
    return made


def add(pod: str) -> Allocate:
    made = command(f"ADD {pod}")
    assert isinstance(made, Allocate)
    return made


def delete(sandbox: str) -> Release:
    made = command(f"DEL {sandbox}")
    assert isinstance(made, Release)
    return made


def terms(log: MemoryLog) -> list[str]:
    """Who took leadership, in the order of the log."""
    events = [event for payload in log.payloads for event in commit.decode(payload).events]
    return [event.engine for event in events if isinstance(event, LeadershipTaken)]


def now() -> float:
    return asyncio.get_running_loop().time()


async def told(member: Member, asked: AnyCommand) -> object:
    """What this very engine answers to a command, past the bus."""
    answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    async def reply(given: object) -> None:
        answer.set_result(given)

    if not member.engine.submit(Request(asked, reply)):
        return None
    return await answer


@in_virtual_time
async def test_an_engine_that_is_alone_leads_at_once() -> None:
    async with realm() as r:
        await r.leader("a")
        assert now() < SILENCE_S / 2
        assert terms(r.log) == ["a"]


@in_virtual_time
async def test_an_engine_that_hears_nobody_leads() -> None:
    async with realm() as r:
        member = await r.start("a")
        await member.becomes(Role.LEADER)
        assert SILENCE_S <= now() <= SILENCE_S + JITTER_S + 0.01
        assert (await r.client().apply(pool("a", 1))).outcome == "created"


@in_virtual_time
async def test_a_standby_does_not_lead_while_it_hears_the_leader() -> None:
    async with realm() as r:
        await r.leader("a")
        await r.standby("b")
        await asyncio.sleep(600)
        assert r.leaders() == ["a"]
        assert terms(r.log) == ["a"]


@in_virtual_time
async def test_a_standby_takes_over_from_a_leader_that_vanished() -> None:
    async with realm() as r:
        a, b = await r.leader("a"), await r.standby("b")
        client = r.client()
        await client.apply(pool("p", 1))
        held = (await client.allocate(add("web"))).allocation
        await a.kill()
        vanished = now()
        await b.becomes(Role.LEADER)
        assert now() - vanished <= SILENCE_S + JITTER_S + 0.01
        assert (await client.allocate(add("web"))).allocation == held
        assert terms(r.log) == ["a", "b"]
        assert (await client.status()).epoch == 2


@in_virtual_time
async def test_a_leader_that_stops_gives_up_at_once() -> None:
    async with realm() as r:
        a, b = await r.leader("a"), await r.standby("b")
        await asyncio.sleep(1)
        stopped = now()
        await a.stop()
        await b.becomes(Role.LEADER)
        assert now() - stopped < INTERVAL_S
        assert a.engine.role is Role.STOPPED


@in_virtual_time
async def test_a_leader_that_stops_answers_what_waits() -> None:
    async with realm() as r:
        r.log = GatedLog()
        a = await r.leader("a")
        r.log.gate.clear()
        asked = [asyncio.create_task(told(a, pool(f"p{n}", n))) for n in range(3)]
        await r.log.arrived.wait()
        stopping = asyncio.create_task(a.stop())
        await asyncio.sleep(0.01)
        r.log.gate.set()
        await stopping
        answers = await asyncio.gather(*asked)
        assert [type(answer) for answer in answers] == [Applied] * 3


@in_virtual_time
async def test_of_many_standbys_one_leads_in_the_end() -> None:
    async with realm() as r:
        a = await r.leader("a")
        for name in "bcdef":
            await r.standby(name)
        await asyncio.sleep(1)
        await a.kill()
        await asyncio.sleep(5)
        assert len(r.leaders()) == 1
        assert r.leaders() == terms(r.log)[-1:]
        assert (await r.client().apply(pool("p", 1))).outcome == "created"


@in_virtual_time
async def test_of_standbys_that_a_leader_leaves_to_themselves_at_once_one_leads() -> None:
    async with realm() as r:
        a = await r.leader("a")
        for name in "bcdef":
            await r.standby(name)
        await asyncio.sleep(1)
        await a.stop()
        await asyncio.sleep(1)
        assert len(r.leaders()) == 1
        assert r.leaders() == terms(r.log)[-1:]


async def two_leaders(r: Realm) -> tuple[Member, Member]:
    """Two engines that believe they lead: neither hears the other. The second one does."""
    a = await r.leader("a")
    a.bus.is_connected = False
    b = await r.start("b")
    await b.becomes(Role.LEADER)
    assert r.leaders() == ["a", "b"]
    return a, b


@in_virtual_time
async def test_of_two_that_believe_they_lead_only_one_can_append() -> None:
    async with realm() as r:
        a, b = await two_leaders(r)
        assert isinstance(await told(a, pool("from-a", 1)), TryAgain)
        assert isinstance(await told(b, pool("from-b", 1)), Applied)
        await a.becomes(Role.STANDBY)
        assert list(replay(r.log.payloads).pools) == ["from-b"]


@in_virtual_time
async def test_a_leader_that_was_deposed_throws_away_what_it_had_decided() -> None:
    async with realm() as r:
        a, b = await two_leaders(r)
        await told(a, pool("from-a", 1))
        await told(b, pool("from-b", 1))
        await a.becomes(Role.STANDBY)
        await b.kill()
        a.bus.is_connected = True
        await a.becomes(Role.LEADER)
        rows = (await r.client().pools()).pools
        assert [row.name for row in rows] == ["from-b"]


@in_virtual_time
async def test_an_answer_that_writes_nothing_is_not_given_from_a_state_that_is_over() -> None:
    async with realm() as r:
        client = r.client()
        a = await r.leader("a")
        await client.apply(pool("p", 1))
        await client.allocate(add("web"))
        a.bus.is_connected = False
        b = await r.start("b")
        await b.becomes(Role.LEADER)
        assert isinstance(await told(b, delete("web-sandbox")), Released)

        repeated = await told(a, add("web"))  # the same ADD as before writes no event

        assert isinstance(repeated, TryAgain)
        await a.becomes(Role.STANDBY)


@in_virtual_time
async def test_an_answer_that_writes_nothing_is_given_by_a_leader() -> None:
    async with realm() as r:
        a = await r.leader("a")
        await told(a, pool("p", 1))
        first = await told(a, add("web"))
        assert isinstance(first, Allocated)
        assert await told(a, add("web")) == first
        assert len(r.log.payloads) == 3


class AwayLog(MemoryLog):
    """A log that cannot be asked for its end while `away`."""

    away = False

    async def last(self) -> int:
        if self.away:
            raise LogUnavailableError("away")
        return await super().last()


@in_virtual_time
async def test_an_answer_that_cannot_be_confirmed_is_not_given_and_the_leader_goes_on() -> None:
    async with realm() as r:
        r.log = AwayLog()
        a = await r.leader("a")
        await told(a, pool("p", 1))
        r.log.away = True
        assert isinstance(await told(a, pool("p", 1)), TryAgain)
        assert isinstance(await told(a, pool("q", 2)), Applied)
        r.log.away = False
        assert isinstance(await told(a, pool("p", 1)), Applied)
        assert terms(r.log) == ["a"]


@in_virtual_time
async def test_a_heartbeat_of_a_higher_epoch_deposes_and_what_waits_may_try_again() -> None:
    async with realm() as r:
        r.log = GatedLog()
        a = await r.leader("a")
        r.log.gate.clear()
        r.log.arrived.clear()
        asked = [asyncio.create_task(told(a, pool(f"p{n}", n))) for n in range(3)]
        await r.log.arrived.wait()
        await rival(r).publish(Heartbeat("rival", 2, "2.0"))
        answers = await asyncio.gather(*asked)
        assert [type(answer) for answer in answers] == [TryAgain] * 3
        await a.becomes(Role.STANDBY)
        assert await told(a, pool("p", 1)) is None


@in_virtual_time
async def test_a_heartbeat_of_an_epoch_that_is_over_is_not_believed() -> None:
    async with realm() as r:
        a, b = await r.leader("a"), await r.standby("b")
        await a.kill()
        await b.becomes(Role.LEADER)
        old = asyncio.create_task(rival(r).beat(lambda: Heartbeat("a", 1, "1.0")))
        c = await r.standby("c")
        await asyncio.sleep(5)
        assert b.engine.role is Role.LEADER
        await b.kill()
        await c.becomes(Role.LEADER)
        old.cancel()


@in_virtual_time
async def test_what_is_no_heartbeat_is_not_minded() -> None:
    async with realm() as r:
        a = await r.leader("a")
        for text in (b"", b"\xff", b"{}", b'{"engine":1}'):
            await MemoryBus(r.net).publish(names.leader(REALM), text)
        await asyncio.sleep(5)
        assert a.engine.role is Role.LEADER


def rival(r: Realm) -> Heartbeats:
    """Heartbeats that somebody else sends."""
    return Heartbeats(MemoryBus(r.net), REALM, Random(0))


@in_virtual_time
async def test_a_standby_that_is_cut_off_does_not_try_to_lead() -> None:
    async with realm() as r:
        await r.leader("a")
        b = await r.standby("b")
        b.bus.is_connected = False
        await asyncio.sleep(60)
        b.bus.is_connected = True
        await asyncio.sleep(60)
        assert terms(r.log) == ["a"]


@in_virtual_time
async def test_who_comes_late_to_a_takeover_keeps_its_state_and_follows() -> None:
    async with realm() as r:
        r.log = GatedLog()
        a, b = await r.leader("a"), await r.standby("b")
        await a.kill()
        r.log.gate.clear()
        r.log.arrived.clear()
        await r.log.arrived.wait()
        first = await r.client().status()  # reads go on while it tries
        rival_term = LeadershipTaken(epoch=2, engine="rival", version="0")
        payload = commit.encode(
            2, r.clock.now, commit.digest(r.log.payloads[0]), [commit.encode_event(rival_term)]
        )
        r.log.payloads.append(payload)
        r.log.gate.set()
        await asyncio.sleep(0.01)
        assert first.position == "1.0"
        assert b.engine.role is Role.STANDBY
        await b.becomes(Role.LEADER)
        assert terms(r.log) == ["a", "rival", "b"]


@in_virtual_time
async def test_queries_are_answered_by_every_replica_and_tell_by_whom() -> None:
    async with realm() as r:
        await r.leader("a")
        await r.standby("b")
        await r.standby("c")
        await asyncio.sleep(1)
        client = r.client()
        found = [await client.status() for _ in range(6)]
        assert {(s.engine, s.role) for s in found} == {
            ("a", "leader"),
            ("b", "standby"),
            ("c", "standby"),
        }
        assert {(s.leader, s.epoch, s.position) for s in found} == {("a", 1, "1.0")}


@in_virtual_time
async def test_a_standby_that_hears_nobody_names_no_leader() -> None:
    async with realm() as r:
        a = await r.leader("a")
        b = await r.standby("b")
        await asyncio.sleep(1)
        await a.kill()
        b.bus.is_connected = False
        await asyncio.sleep(5)
        assert b.engine.status(replay(r.log.payloads)).leader == ""


@in_virtual_time
async def test_whoever_wrote_reads_it_from_every_replica() -> None:
    async with realm() as r:
        await r.leader("a")
        await r.standby("b")
        await r.standby("c")
        client = r.client()
        for n in range(30):
            await client.apply(pool(f"p{n:02}", n))
            assert len((await client.pools()).pools) == n + 1
        assert client.position == Position(31, 0)


class SlowFollowing(MemoryLog):
    """A log whose new entries reach followers `delay_s` late."""

    delay_s = 0.0

    async def follow(self, after: int) -> AsyncIterator[Entry]:
        async for entry in super().follow(after):
            await asyncio.sleep(self.delay_s)
            yield entry


@in_virtual_time
async def test_a_replica_that_is_behind_waits_for_the_position_asked_for() -> None:
    async with realm() as r:
        r.log = SlowFollowing()
        a, b = await r.leader("a"), await r.standby("b")
        r.log.delay_s = 0.3
        await told(a, pool("p", 1))
        seen: list[object] = []

        async def reply(answer: object) -> None:
            seen.append((answer, now()))

        asked = now()
        await b.engine.look(lambda state: list(state.pools), START, reply)
        await b.engine.look(lambda state: list(state.pools), Position(2, 0), reply)
        assert seen == [([], asked), (["p"], pytest.approx(asked + 0.3))]


@in_virtual_time
async def test_a_replica_that_hears_it_is_behind_does_not_answer_from_the_past() -> None:
    async with realm() as r:
        r.log = SlowFollowing()
        a, b = await r.leader("a"), await r.standby("b")
        r.log.delay_s = INTERVAL_S + 0.2
        await told(a, pool("p", 1))
        await asyncio.sleep(INTERVAL_S)
        seen: list[object] = []

        async def reply(answer: object) -> None:
            seen.append(answer)

        await b.engine.look(lambda state: list(state.pools), START, reply)
        r.log.delay_s = 60
        await told(a, pool("q", 2))
        await asyncio.sleep(INTERVAL_S)
        await b.engine.look(lambda state: list(state.pools), START, reply)
        assert seen == [["p"], TryAgain("the engine is at 2.0, not yet at 3.0")]


@in_virtual_time
async def test_a_replica_that_stays_behind_says_try_again() -> None:
    async with realm() as r:
        await r.leader("a")
        b = await r.standby("b")
        client = r.client(timeout_s=3)
        client.position = Position(99, 0)
        with pytest.raises(EngineUnavailableError, match=r"at 1\.0, not yet at 99\.0"):
            await client.pools()
        assert b.engine.role is Role.STANDBY


@in_virtual_time
async def test_a_question_that_waits_does_not_hold_up_another() -> None:
    async with realm() as r:
        await r.leader("a")
        behind, other = r.client(timeout_s=5), r.client()
        behind.position = Position(99, 0)
        waiting = asyncio.create_task(behind.pools())
        await asyncio.sleep(0.01)
        asked = now()
        await other.pools()
        assert now() == asked
        with pytest.raises(EngineUnavailableError):
            await waiting


@in_virtual_time
async def test_a_reader_who_knows_more_than_the_leader_deposes_it() -> None:
    async with realm() as r:
        a, b = await two_leaders(r)
        await told(b, pool("p", 1))
        seen: list[object] = []

        async def reply(answer: object) -> None:
            seen.append(type(answer))

        await a.engine.look(lambda state: list(state.pools), Position(3, 0), reply)
        await a.becomes(Role.STANDBY)
        assert seen == [TryAgain]


@in_virtual_time
async def test_reads_go_on_while_nobody_leads() -> None:
    async with realm() as r:
        a, b = await r.leader("a"), await r.standby("b")
        client = r.client()
        await client.apply(pool("p", 1))
        await client.allocate(add("web"))
        await a.kill()
        assert b.engine.role is Role.STANDBY
        pages = [page async for page in client.allocations(AllocationsWhere())]
        assert b.engine.role is Role.STANDBY
        assert [row.pod for page in pages for row in page.allocations] == ["web"]


@in_virtual_time
async def test_commands_reach_the_leader_alone() -> None:
    async with realm() as r:
        a = await r.leader("a")
        b = await r.standby("b")
        await a.kill()
        with pytest.raises(EngineUnavailableError, match="no engine serves"):
            await r.client(timeout_s=0.1).apply(pool("p", 1))
        assert b.engine.role is Role.STANDBY


@in_virtual_time
async def test_a_follower_of_a_broken_log_stops_and_says_where() -> None:
    async with realm() as r:
        await r.leader("a")
        b = await r.standby("b")
        await r.log.append(b'{"v":1}', after=1)
        with pytest.raises(BrokenLogError, match="commit 2: cannot be read"):
            await b.running
        assert b.engine.role is Role.STOPPED


@in_virtual_time
async def test_a_leader_of_a_broken_log_stops_and_says_where() -> None:
    async with realm() as r:
        a = await r.leader("a")
        await r.log.append(b'{"v":1}', after=1)
        assert isinstance(await told(a, pool("p", 1)), TryAgain)
        with pytest.raises(BrokenLogError, match="commit 2: cannot be read"):
            await a.running


@in_virtual_time
async def test_a_log_that_has_lost_its_end_is_broken() -> None:
    async with realm() as r:
        a, b = await r.leader("a"), await r.standby("b")
        await told(a, pool("p", 1))
        await asyncio.sleep(0.1)
        await a.kill()
        del r.log.payloads[-1]
        with pytest.raises(BrokenLogError, match="commit 2: missing: the log ends at 1"):
            await b.running


@in_virtual_time
async def test_an_engine_waits_for_a_log_that_is_away_at_its_start() -> None:
    async with realm() as r:
        r.log = AwayLog()
        r.log.away = True
        a = await r.start("a", alone=True)
        await asyncio.sleep(60)
        assert a.engine.role is Role.LOADING
        r.log.away = False
        await a.becomes(Role.LEADER)


@in_virtual_time
async def test_an_engine_can_be_stopped_in_any_role() -> None:
    async with realm() as r:
        r.log = AwayLog()
        r.log.away = True
        loading = await r.start("loading")
        await asyncio.sleep(1)
        await loading.stop()
        r.log.away = False
        await r.leader("leading")
        standby = await r.standby("standby")
        await standby.stop()
        assert terms(r.log) == ["leading"]
        assert r.leaders() == ["leading"]
