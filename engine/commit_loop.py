"""The commit loop: group commit (DESIGN section 2, idea 3).

All commands that arrived while the last commit was on its way are decided one after another
against the speculative state and leave as one commit; each is answered when it is acknowledged.
Reads wait in the same queue, so that no answer ever tells of an event that is not durable.
One commit is in flight. An append that is refused means that another engine leads. An answer
that rests on no new commit is confirmed instead: the log must still end where this engine has it
(docs/adr/0020), or an engine that slept through its own end would tell of a state that is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias, TypeVar

from opentelemetry.trace import Span

from ipledger.engine.answers import TryAgain
from ipledger.engine.checkpoints import Checkpoints
from ipledger.engine.commands import AnyCommand
from ipledger.engine.decide import Decision, decide
from ipledger.engine.metrics.tally import Tally, Times
from ipledger.engine.outcomes import answer_to
from ipledger.engine.refusals import Reason, Refusal
from ipledger.engine.waiting import QUEUE_MAX, Waiting
from ipledger.events import commit, tracing
from ipledger.events.log import Appended, Entry, Log, LogUnavailableError
from ipledger.events.tracing import NO_SPAN
from ipledger.events.types import LeadershipTaken
from ipledger.projections.evolve import Moment, evolve
from ipledger.projections.fold import Fold
from ipledger.projections.state import State

_log = logging.getLogger(__name__)

T = TypeVar("T")

Look: TypeAlias = Callable[[State], object]
"""A read: evaluated in its turn, answered once everything before it is durable.

One that returns `TryAgain` knows of more than the state has: the batch is then confirmed.
"""

Reply: TypeAlias = Callable[[Any], Awaitable[None]]
"""Takes the answer to a command, what a look returned, or `TryAgain`."""


class Request(NamedTuple):
    """Something asked of the engine, where the answer goes, and the span that ends with it.

    `node` is who asks, '' for whoever is no node; `places` is what it takes of the queue.
    """

    work: AnyCommand | Look
    reply: Reply
    span: Span = NO_SPAN
    node: str = ""
    places: int = 1


_Answered: TypeAlias = tuple[Request, float, object]
"""A request, when it came (`monotonic`), and the answer to it."""


@dataclass(slots=True)
class _Batch:
    time: int
    began: float
    events: list[bytes] = field(default_factory=list[bytes])
    size: int = commit.ENVELOPE_BYTES_MAX
    answers: list[_Answered] = field(default_factory=list[_Answered])
    types: list[type[object]] = field(default_factory=list[type[object]])
    traceparent: str = ""
    spans: list[Span] = field(default_factory=list[Span])
    """Of the requests that have events in it."""
    is_certain: bool = True
    """Whether it may be answered without a commit and without looking at the log."""


def loop_time() -> float:
    """Seconds on a clock that nobody sets."""
    return asyncio.get_running_loop().time()


class DeposedError(Exception):
    """Another engine has appended to the log: this one no longer leads."""


class CommitLoop:
    """Decides and commits the requests of one term of leadership.

    `fold` is at the end of the log; this object alone moves it on. `clock` tells microseconds
    since the Unix epoch, `monotonic` seconds for how long something took. With
    `checkpoints`, a commit opens with the one that is due. What is done is counted in `tally`.
    """

    def __init__(
        self,
        log: Log,
        fold: Fold,
        clock: Callable[[], int],
        queue_max: int = QUEUE_MAX,
        checkpoints: Checkpoints | None = None,
        monotonic: Callable[[], float] = loop_time,
        tally: Tally | None = None,
    ) -> None:
        self._log = log
        self._fold = fold
        self._clock = clock
        self._monotonic = monotonic
        self._checkpoints = checkpoints
        self._tally = Tally() if tally is None else tally
        self._waiting: Waiting[tuple[Request, float]] = Waiting(queue_max)
        self._wake = asyncio.Event()
        self._stopping = False
        self._between: deque[Callable[[Fold], None]] = deque()
        self._prev_took: commit.Took | None = None

    @property
    def waiting(self) -> int:
        """How many requests wait to be decided."""
        return len(self._waiting)

    def submit(self, request: Request) -> bool:
        """Queue a request. False when the queue is full or closing: it will not be answered."""
        if self._stopping:
            return False
        if not self._waiting.put((request, self._monotonic()), request.node, request.places):
            self._tally.rejected += 1
            return False
        self._wake.set()
        return True

    def has_room(self, node: str) -> bool:
        """Whether a command of a node would be queued; one that would not counts as rejected."""
        has_room = self._waiting.has_room(node)
        self._tally.rejected += not has_room
        return has_room

    def stop(self) -> None:
        """Take no more requests; `run` returns when those that wait are answered."""
        self._stopping = True
        self._wake.set()

    async def take_leadership(self, engine: str, version: str) -> None:
        """Open the term with the next epoch. Raises `DeposedError` if another engine was first.

        The state has the event only once it is durable: whoever gives up waiting for that, or
        loses, has a fold as good as before.
        """
        fold = self._fold
        epoch = fold.state.epoch + 1
        event = LeadershipTaken(epoch=epoch, engine=engine, version=version)
        payload = commit.encode(epoch, self._now(), fold.hash, [commit.encode_event(event)])
        fold.apply(Entry(await self._append(payload, [LeadershipTaken]), payload))

    async def between_commits(self, look: Callable[[Fold], T]) -> T:
        """What `look` makes of the fold at a moment when all that it holds is durable."""
        seen: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def visit(fold: Fold) -> None:
            if not seen.cancelled():
                seen.set_result(look(fold))

        self._between.append(visit)
        self._wake.set()
        return await seen

    async def run(self) -> None:
        """Serve until `stop`, or raise `DeposedError`. Whoever still waits then may try again."""
        try:
            while True:
                while self._between:
                    self._between.popleft()(self._fold)
                if self._waiting:
                    await self._serve(self._decide_waiting())
                elif self._stopping:
                    return
                else:
                    self._wake.clear()
                    await self._wake.wait()
        finally:
            self._stopping = True
            while self._waiting:
                request, _ = self._waiting.take()
                await request.reply(TryAgain("the engine stops leading"))

    async def _serve(self, batch: _Batch) -> None:
        decided = self._monotonic()
        try:
            if batch.events:
                await self._commit(batch)
            elif not batch.is_certain:
                await self._confirm()
        except BaseException as error:
            for request, _, _ in batch.answers:
                await request.reply(TryAgain("the engine could not make certain of the answer"))
            self._tally.given_up(request.work for request, _, _ in batch.answers)
            if batch.events or not isinstance(error, LogUnavailableError):
                raise
            _log.warning("an answer could not be confirmed: %s", error)
        else:
            durable = self._monotonic()
            for request, _, answer in batch.answers:
                await request.reply(answer)
            times = Times(batch.began, decided, durable, self._monotonic())
            self._tally.answered(batch.answers, times)

    def _now(self) -> int:
        return max(self._clock(), self._fold.time)

    def _decide_waiting(self) -> _Batch:
        """Decide what waits, as much as fits one commit; the state is then speculative."""
        batch = _Batch(self._now(), self._monotonic())
        self._sign_checkpoint(batch)
        state, size_max = self._fold.state, self._log.payload_bytes_max
        while self._waiting:
            request, came = self._waiting.take()
            if callable(request.work):
                found = request.work(state)
                batch.answers.append((request, came, found))
                batch.is_certain &= not isinstance(found, TryAgain)
                continue
            batch.is_certain = False
            decision = _decide(state, request.work, batch.time)
            encoded = [commit.encode_event(event) for event in decision.events]
            size = batch.size + sum(map(len, encoded)) + len(encoded)
            if size > size_max:
                if batch.events:
                    self._waiting.put_back((request, came), request.node, request.places)
                    break
                decision, encoded = _too_large(size), []
            self._evolve(batch, decision, encoded)
            if request.span is not NO_SPAN:
                request.span.add_event("decided")
                if encoded:
                    batch.spans.append(request.span)
            answer = answer_to(request.work, decision, state)
            batch.answers.append((request, came, answer))
        return batch

    def _sign_checkpoint(self, batch: _Batch) -> None:
        if self._checkpoints is not None:
            event = self._checkpoints.due(self._fold, batch.time)
            if event is not None:
                self._evolve(batch, Decision((event,)), [commit.encode_event(event)])

    def _evolve(self, batch: _Batch, decision: Decision, encoded: list[bytes]) -> None:
        for event, payload in zip(decision.events, encoded, strict=True):
            at = Moment(self._fold.sequence + 1, len(batch.events), batch.time)
            evolve(self._fold.state, event, at)
            batch.events.append(payload)
            batch.types.append(type(event))
            batch.size += len(payload) + 1
            batch.traceparent = batch.traceparent or getattr(event, "traceparent", "")

    async def _commit(self, batch: _Batch) -> None:
        fold = self._fold
        decided = self._micros_since(batch.began)
        payload = commit.encode(
            fold.state.epoch, batch.time, fold.hash, batch.events, self._prev_took
        )
        with _begin_span(batch, fold.state.epoch, len(payload)) as span:
            traceparent = tracing.traceparent_of(span) or batch.traceparent
            sequence = await self._append(payload, batch.types, traceparent)
            span.set_attribute("ipledger.sequence", sequence)
        fold.advance(sequence, commit.digest(payload), batch.time)
        self._prev_took = commit.Took(decided, self._micros_since(batch.began))

    def _micros_since(self, moment: float) -> int:
        return round((self._monotonic() - moment) * 1e6)

    async def _append(
        self, payload: bytes, types: list[type[object]], traceparent: str = ""
    ) -> int:
        after, sent = self._fold.sequence, self._monotonic()
        outcome = await self._log.append(payload, after=after, traceparent=traceparent)
        if not isinstance(outcome, Appended):
            raise DeposedError(f"the log went on to {outcome.last}, behind {after}")
        self._tally.committed(types, len(payload), self._monotonic() - sent)
        return outcome.sequence

    async def _confirm(self) -> None:
        """Raise `DeposedError` unless the log ends where this engine has it."""
        last = await self._log.last()
        if last != self._fold.sequence:
            raise DeposedError(f"the log ends at {last}, not at {self._fold.sequence}")


def _begin_span(batch: _Batch, epoch: int, size: int) -> Span:
    """The span of a commit: linked with the requests in it, since it is no child of any one."""
    if not batch.spans:
        return NO_SPAN
    span = tracing.begin_linked(
        "commit",
        map(tracing.traceparent_of, batch.spans),
        attributes={
            "ipledger.epoch": epoch,
            "ipledger.events": len(batch.events),
            "ipledger.bytes": size,
        },
    )
    for request in batch.spans:
        tracing.link(request, span)
    return span


def _decide(state: State, command: AnyCommand, now: int) -> Decision:
    """Decide; a command that our own mistake cannot decide must not end the engine for all."""
    try:
        return decide(state, command, now)
    except Exception as error:
        _log.exception("a command cannot be decided: %s", type(command).__name__)
        return Decision((), Refusal(Reason.BAD_REQUEST, f"it cannot be decided: {error!r}"))


def _too_large(size: int) -> Decision:
    message = f"the command needs a commit of {size} bytes, more than the server takes"
    return Decision((), Refusal(Reason.BAD_REQUEST, message))
