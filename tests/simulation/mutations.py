"""Deliberate mistakes, each of which the simulator has to find: a test of the tests.

A mistake is a small change to the real code, in force within its context. `breaks` says which
invariant of DESIGN section 12 it breaks, or which rule of the protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeAlias
from unittest import mock

import nats.errors
from nats.js.api import Header

from ipledger.cni import handler, outbox, proving
from ipledger.engine import allocate, commit_loop, decide, engine, heartbeats, pools, replica
from ipledger.engine.answers import Released
from ipledger.engine.client import EngineClient
from ipledger.engine.commands import Allocate, Release, ReleaseAllocation
from ipledger.engine.refusals import Refusal
from ipledger.engine.release import release
from ipledger.engine.selection import select
from ipledger.events import commit, jetstream
from ipledger.events.clock import parse_time
from ipledger.events.jetstream_reader import StreamReader
from ipledger.events.log import Appended, Conflict, Entry, LogUnavailableError
from ipledger.events.position import START, Position
from ipledger.events.types import AddressesReleased, AnyEvent
from ipledger.projections import fence, fold, pool
from ipledger.projections.allocations import Allocation, Identity
from ipledger.projections.evolve import Moment, evolve
from ipledger.projections.ranges import Intervals, parse_ranges
from ipledger.projections.state import State
from simulation.run import Result, run
from simulation.stream import JetStream

Patch: TypeAlias = contextlib.AbstractContextManager[object]
"""What has a mistake in force while it is entered."""
Mistake: TypeAlias = Callable[[], Patch]


@dataclass(frozen=True, slots=True)
class Mutation:
    """A mistake by name. `faults` are those that it is looked for with; none are all kinds.

    It is looked for from the seed `first` on: one that found it, where few do. Any change of the
    real code may move it; `make simulate MISTAKES=1` tells where it is now.
    """

    name: str
    breaks: str
    make: Mistake
    faults: tuple[str, ...] = ()
    first: int = 0

    def found(self, seeds: range) -> Result | None:
        """The first run that finds it, None if none does."""
        with self.make():
            runs = (run(seed, faults=self.faults) for seed in seeds)
            return next((result for result in runs if result.wrong), None)


ALL: list[Mutation] = []


def mutation(breaks: str, *faults: str, first: int = 0) -> Callable[[Mistake], Mistake]:
    """Put a mistake on the list."""

    def note(make: Mistake) -> Mistake:
        ALL.append(Mutation(make.__name__.replace("_", "-"), breaks, make, faults, first))
        return make

    return note


@mutation("invariant 1")
def an_address_is_given_twice() -> Patch:
    """The pool forgets now and then who holds what, and nothing asserts that it does not."""

    def choose(self: pool.Pool, identity: Identity) -> int | None:
        return self.usable[0][0] if self.usable else None

    def take(self: pool.Pool, address: int, number: int) -> None:
        self.taken[address] = number

    def give_back(self: pool.Pool, address: int, identity: Identity) -> None:
        self.taken.pop(address, None)

    return mock.patch.multiple(pool.Pool, choose=choose, take=take, give_back=give_back)


@mutation("invariant 1", first=14)
def a_reserved_address_is_given() -> Patch:
    """Pools do not know of reservations."""
    return mock.patch.object(pool, "common", return_value=())


@mutation("invariant 2")
def an_excluded_address_is_given() -> Patch:
    """A pool has the addresses that it excludes."""

    def usable(spec: Any) -> Intervals:
        return tuple(parse_ranges(spec.ips, spec.ip_version))

    return mock.patch.object(pool, "usable", usable)


@mutation("invariant 3")
def a_pool_change_drops_a_held_address() -> Patch:
    """A change of a pool is not held against what it holds."""
    return mock.patch.object(pools, "_removes_held", return_value=None)


@mutation("invariant 4")
def an_answer_comes_before_the_append() -> Patch:
    """Whoever asks is answered while the commit is on its way."""

    async def serve(self: Any, batch: Any) -> None:
        for request, _, answer in batch.answers:
            await request.reply(answer)
        if batch.events:
            await self._commit(batch)

    return mock.patch.object(commit_loop.CommitLoop, "_serve", serve)


@mutation("invariant 4")
def a_lost_answer_is_taken_for_success() -> Patch:
    """An append that was not answered is thought to have landed."""
    append = jetstream.JetStreamLog.append

    async def hasty(
        self: jetstream.JetStreamLog, payload: bytes, *, after: int, traceparent: str = ""
    ) -> Appended | Conflict:
        try:
            async with asyncio.timeout(0.4):
                return await append(self, payload, after=after, traceparent=traceparent)
        except TimeoutError:
            return Appended(after + 1)

    return mock.patch.object(jetstream.JetStreamLog, "append", hasty)


@mutation("invariant 4")
def a_conflict_is_taken_for_success() -> Patch:
    """An engine that is refused goes on as if it were not."""
    append = jetstream.JetStreamLog.append

    async def stubborn(
        self: jetstream.JetStreamLog, payload: bytes, *, after: int, traceparent: str = ""
    ) -> Appended | Conflict:
        await append(self, payload, after=after, traceparent=traceparent)
        return Appended(after + 1)

    return mock.patch.object(jetstream.JetStreamLog, "append", stubborn)


@mutation("invariant 5")
def the_leader_evolves_by_its_own_clock() -> Patch:
    """The time in the leader's state is not the commit's."""

    def by_clock(state: State, event: AnyEvent, at: Moment) -> None:
        evolve(state, event, Moment(at.sequence, at.index, at.time + 1))

    return mock.patch.object(commit_loop, "evolve", by_clock)


@mutation("invariant 5")
def a_speculative_state_is_kept() -> Patch:
    """An engine whose append was refused goes on from what it had decided."""
    return mock.patch.object(replica.Replica, "is_speculative", False)


@mutation("invariant 6")
def times_go_back() -> Patch:
    """A commit has the time of its engine's clock, whatever the one before has."""

    def now(self: Any) -> int:
        return int(self._clock())

    return mock.patch.object(commit_loop.CommitLoop, "_now", now)


@mutation("invariant 6")
def the_hash_chain_is_not_checked() -> Patch:
    """A replica takes in whatever has the right sequence."""

    def check(
        self: fold.Fold, entry: Entry, decoded: commit.Commit | None
    ) -> tuple[commit.Commit, int]:
        read = commit.decode(entry.payload) if decoded is None else decoded
        return read, parse_time(read.time)

    return mock.patch.object(fold.Fold, "_check", check)


@mutation("invariant 6")
def a_commit_names_the_hash_before_the_last() -> Patch:
    """The leader does not move its head's hash on."""

    async def commit_batch(self: Any, batch: Any) -> None:
        head = self._fold
        payload = commit.encode(head.state.epoch, batch.time, head.hash, batch.events)
        head.advance(await self._append(payload, batch.types), head.hash, batch.time)

    return mock.patch.object(commit_loop.CommitLoop, "_commit", commit_batch)


@mutation("invariant 7", "kill-engines", "lag", first=253)
def a_stale_release_frees_a_live_address() -> Patch:
    """A collector's release is not held against the sandbox that it names."""
    free = decide._TIMELESS[ReleaseAllocation]  # pyright: ignore[reportPrivateUsage]

    def careless(state: State, command: ReleaseAllocation) -> Any:
        return free(state, ReleaseAllocation(allocation=command.allocation))

    return mock.patch.dict(decide._TIMELESS, {ReleaseAllocation: careless})  # pyright: ignore[reportPrivateUsage]


@mutation("invariant 7")
def a_release_is_recorded_twice() -> Patch:
    """A DEL frees once more what it has freed."""

    def twice(state: State, command: Release, now: int) -> tuple[AnyEvent, ...]:
        events = release(state, command, now)
        return events * 2 if isinstance(events and events[0], AddressesReleased) else events

    return mock.patch.object(decide, "release", twice)


@mutation("invariant 7")
def a_late_del_frees_the_next_sandbox() -> Patch:
    """A DEL frees what the pod of its sandbox has now, whichever sandbox that is in."""
    pods: dict[str, str] = {}
    place = allocate.allocate

    def learning(state: State, command: Allocate, now: int) -> Any:
        pods[command.sandbox] = command.pod.uid
        return place(state, command, now)

    def by_pod(state: State, command: Release, now: int) -> tuple[AnyEvent, ...]:
        held = state.allocations.of((pods.get(command.sandbox, ""), command.interface))
        if held is None or not held.sandbox:
            return release(state, command, now)
        return (AddressesReleased(allocation=held.id, sandbox=held.sandbox, reason="cni-del"),)

    return mock.patch.multiple(decide, allocate=learning, release=by_pod)


@mutation("invariant 8")
def a_new_sandbox_is_a_new_allocation() -> Patch:
    """A pod's next sandbox does not get what the pod has."""
    again = allocate._again  # pyright: ignore[reportPrivateUsage]

    def anew(held: Allocation, command: Allocate, now: int) -> Any:
        if held.sandbox == command.sandbox:
            return again(held, command, now)
        state = states[-1]
        selected = select(state, command, None)
        if isinstance(selected, Refusal):
            return selected
        return allocate._new(state, command, selected, 0)  # pyright: ignore[reportPrivateUsage]

    states: list[State] = []
    decided = allocate.allocate

    def noting(state: State, command: Allocate, now: int) -> Any:
        states[:] = [state]
        return decided(state, command, now)

    return _all(
        mock.patch.object(allocate, "_again", anew), mock.patch.object(decide, "allocate", noting)
    )


@mutation("invariant 9")
def deciding_depends_on_how_often_it_is_done() -> Patch:
    """The choice of an address is drawn, not decided."""
    choose, drawn = pool.Pool.choose, count()

    def draw(self: pool.Pool, identity: Identity) -> int | None:
        fresh = self._fresh  # pyright: ignore[reportPrivateUsage]
        return fresh[-1][1] if fresh and next(drawn) % 2 else choose(self, identity)

    return mock.patch.object(pool.Pool, "choose", draw)


@mutation("fencing (idea 4)")
def an_append_is_not_fenced() -> Patch:
    """A commit does not say which one it follows."""
    publish = JetStream.publish

    async def unfenced(self: JetStream, *args: Any, **kwargs: Any) -> Any:
        headers = dict(kwargs["headers"])  # the adapter's own are used again
        del headers[Header.EXPECTED_LAST_SEQUENCE.value]
        return await publish(self, *args, **{**kwargs, "headers": headers})

    return mock.patch.object(JetStream, "publish", unfenced)


@mutation("ADR 20", "cut", "step-clock", first=50)
def an_answer_that_wrote_nothing_is_not_confirmed() -> Patch:
    """An engine that slept through its own end tells of a state that is over."""

    async def confirm(self: commit_loop.CommitLoop) -> None:
        pass

    return mock.patch.object(commit_loop.CommitLoop, "_confirm", confirm)


@mutation("ADR 1", "kill-as-it-asks")
def the_fence_is_dropped() -> Patch:
    """An ADD that comes behind its DEL is served."""
    return mock.patch.object(fence.EndedAttachments, "ended_at", return_value=None)


@mutation("ADR 82")
def an_address_that_somebody_has_is_handed_over() -> Patch:
    """The agent probes, and does not look at the answers."""

    return mock.patch.object(proving.Proving, "_conflicts", mock.AsyncMock(return_value=()))


@mutation("DESIGN section 7", "kill-engines", first=544)
def a_del_leaves_its_add_going_on() -> Patch:
    """The agent does not remember the DELs it was given."""
    return mock.patch.object(handler.CniHandler, "_end", return_value=True)


@mutation("DESIGN section 7")
def a_del_is_kept_nowhere() -> Patch:
    """The agent says that it has a release in its outbox, and has not."""

    async def keep(self: handler.CniHandler, release: Release) -> None:
        pass

    return mock.patch.object(handler.CniHandler, "_keep", keep)


@mutation("DESIGN section 7", "kill-engines", "kill")
def a_release_leaves_the_outbox_before_it_is_answered() -> Patch:
    """What is being sent is struck off already."""

    async def send(self: outbox.Outbox, client: EngineClient) -> None:
        while True:
            self._stored.clear()  # pyright: ignore[reportPrivateUsage]
            with contextlib.suppress(outbox.StoreError):
                for stored in await self.store.pending():
                    await self.store.delete(stored.id)
                    await self._send_one(client, stored.release)  # pyright: ignore[reportPrivateUsage]
            await self._stored.wait()  # pyright: ignore[reportPrivateUsage]

    return mock.patch.object(outbox.Outbox, "send", send)


@mutation("DESIGN section 7")
def a_release_that_nobody_answers_is_dropped() -> Patch:
    """The outbox tries once."""
    send_one = outbox.Outbox._send_one  # pyright: ignore[reportPrivateUsage]

    async def once(self: outbox.Outbox, client: EngineClient, release: Release) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await send_one(self, client, release)

    return mock.patch.object(outbox.Outbox, "_send_one", once)


@mutation("the client's promise")
def no_answer_is_taken_for_a_release() -> Patch:
    """A client whom nobody answers thinks that it was done."""
    request = EngineClient.release

    async def hopeful(
        self: EngineClient, command: Release, timeout_s: float | None = None
    ) -> Released:
        try:
            return await request(self, command, timeout_s)
        except Exception:
            return Released("0.0")

    return mock.patch.object(EngineClient, "release", hopeful)


@mutation("DESIGN section 2, idea 6", first=133)
def a_client_forgets_what_it_was_told() -> Patch:
    """Its next question may be answered from before its last answer."""

    def forget(self: EngineClient, answer: object) -> None:
        pass

    return mock.patch.object(EngineClient, "_remember", forget)


@mutation("DESIGN section 2, idea 6", first=133)
def a_standby_answers_from_before_the_position_asked_for() -> Patch:
    """A read is answered at once, whatever the asker knows."""
    look = engine.Engine.look

    async def at_once(self: engine.Engine, work: Any, at_least: Position, reply: Any) -> None:
        await look(self, work, START, reply)

    return mock.patch.object(engine.Engine, "look", at_once)


@mutation("progress")
def nobody_misses_the_leader() -> Patch:
    """A standby waits for ever."""
    silence = heartbeats.Heartbeats.silence

    async def deaf(self: heartbeats.Heartbeats) -> None:
        await silence(self)
        if self.epoch:
            await asyncio.get_running_loop().create_future()

    return mock.patch.object(heartbeats.Heartbeats, "silence", deaf)


@mutation("progress", first=34)
def a_leader_never_gives_way() -> Patch:
    """A leader that is overtaken and idle does not notice."""

    async def overtaken(self: heartbeats.Heartbeats, epoch: int) -> None:
        await asyncio.get_running_loop().create_future()

    return mock.patch.object(heartbeats.Heartbeats, "overtaken", overtaken)


@mutation("progress", first=21)
def a_lost_entry_is_a_broken_log() -> Patch:
    """What was lost on its way to a follower is taken for missing."""

    async def missing(self: StreamReader, sequence: int) -> None:
        pass

    return mock.patch.object(StreamReader, "_check_missing", missing)


@mutation("progress", "break-as-it-lands")
def the_last_lost_entry_is_not_missed() -> Patch:
    """A follower that hears nothing only looks whether its consumer is alive."""

    async def look(self: Any, subscription: Any, after: int, *, patient: bool) -> None:
        try:
            await subscription.consumer_info()
        except nats.errors.Error as error:
            raise LogUnavailableError(str(error)) from error

    return mock.patch.object(StreamReader, "_check_silence", look)


@contextlib.contextmanager
def _all(*patches: Patch) -> Generator[None]:
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        yield
