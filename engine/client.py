"""The typed client of the engine: commands and queries over NATS, tried again until a deadline."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias, TypeVar

import msgspec
import nats.errors
from opentelemetry.trace import Span, SpanKind

from ipledger.engine import queries
from ipledger.engine.answers import (
    Allocated,
    AnyAnswer,
    Applied,
    Checked,
    Checkpointed,
    Forecast,
    Page,
    Refused,
    Released,
    Retained,
    Status,
    TryAgain,
)
from ipledger.engine.commands import (
    Allocate,
    AnyApply,
    AnyChange,
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
from ipledger.engine.refusals import Reason, Refusal
from ipledger.events import names, tracing
from ipledger.events.bus import Bus, Message, Subscription
from ipledger.events.position import START, Position
from ipledger.events.types import CheckpointSigned

# A request that an engine took with it when it died is sent again after the first of these; one
# that is only late is harmed by that as little as by any other repetition.
_ATTEMPT_TIMEOUT_FIRST_S = 0.5
_ATTEMPT_TIMEOUT_MAX_S = 4.0
_RETRY_FIRST_S = 0.02
_RETRY_MAX_S = 0.25  # an agent must not miss a takeover for long
_PAGE_TIMEOUT_S = 5.0

T = TypeVar("T", bound=AnyAnswer)
Headers: TypeAlias = dict[str, str] | None

_decode: Callable[[bytes], AnyAnswer] = msgspec.json.Decoder(AnyAnswer).decode
_APPLY_VERBS: dict[type[AnyApply], str] = {
    ApplyPool: "apply-pool",
    ApplySubnet: "apply-subnet",
    ApplyReservation: "apply-reservation",
    ApplyApplication: "apply-application",
}
_encode = msgspec.json.Encoder().encode


class EngineUnavailableError(Exception):
    """No engine answered before the deadline. The command may have been carried out or not."""


class RefusedError(Exception):
    """The engine turned the request down; `refusal` says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


@dataclass(slots=True)
class Counts:
    """Requests that a client made: answered, or given up; and attempts after the first."""

    answered: int = 0
    unavailable: int = 0
    retries: int = 0


@dataclass(slots=True)
class EngineClient:
    """Asks the engines of a realm. Methods raise `EngineUnavailableError` and `RefusedError`.

    `timeout_s` is how long a request is tried; each one may be given less. Whichever engine
    answers a query, its answer is at least as new as any that this client was given before: it
    reads what it wrote. `position` is the newest one, `oldest` where the first answer stood.
    """

    bus: Bus
    realm: str = names.REALM_DEFAULT
    timeout_s: float = 10.0
    random: Random = field(default_factory=Random)
    position: Position = field(default=START, init=False)
    oldest: Position = field(default=START, init=False)
    counts: Counts = field(default_factory=Counts, init=False)

    async def allocate(self, command: Allocate, timeout_s: float | None = None) -> Allocated:
        """Send a node's ADD."""
        subject = names.node_command(self.realm, command.node, "allocate")
        return await self._node(subject, command, Allocated, timeout_s)

    async def release(self, command: Release, timeout_s: float | None = None) -> Released:
        """Send a node's DEL."""
        subject = names.node_command(self.realm, command.node, "release")
        return await self._node(subject, command, Released, timeout_s)

    async def retain(self, command: RetainAttachments, timeout_s: float | None = None) -> Retained:
        """Send a node's GC."""
        subject = names.node_command(self.realm, command.node, "retain")
        return await self._node(subject, command, Retained, timeout_s)

    async def confirm(self, node: str, timeout_s: float | None = None) -> Applied:
        """Whether the commands of a node reach an engine that leads."""
        subject = names.node_command(self.realm, node, "confirm")
        return await self._ask(subject, _encode(Confirm()), Applied, timeout_s)

    async def show(self, query: queries.Attached, timeout_s: float | None = None) -> Page:
        """What an attachment of a node holds."""
        subject = names.node_command(self.realm, query.node, "show")
        return await self._ask(subject, self._encode_query(query), Page, timeout_s)

    async def apply(self, command: AnyApply, parent: str = "") -> Applied:
        """Create or change what a manifest describes. `parent` is the traceparent of the asker."""
        return await self._admin(_APPLY_VERBS[type(command)], command, Applied, parent)

    async def delete_pool(
        self, name: str, parent: str = "", *, when_empty: bool = False
    ) -> Applied:
        """Delete a pool, which with `when_empty` may still be in use."""
        command = DeletePool(name=name, when_empty=when_empty)
        return await self._admin("delete-pool", command, Applied, parent)

    async def delete_subnet(self, name: str, parent: str = "") -> Applied:
        """Delete a subnet."""
        return await self._admin("delete-subnet", DeleteSubnet(name=name), Applied, parent)

    async def delete_reservation(self, name: str, parent: str = "") -> Applied:
        """Delete a reservation."""
        command = DeleteReservation(name=name)
        return await self._admin("delete-reservation", command, Applied, parent)

    async def check(self, commands: tuple[AnyChange, ...]) -> tuple[Forecast, ...]:
        """What these commands would do, one after another. Nothing is changed."""
        return (await self._query("check", queries.Check(commands=commands), Checked)).forecasts

    async def delete_application(self, command: DeleteApplication, parent: str = "") -> Applied:
        """Tell that a workload is gone."""
        return await self._admin("delete-application", command, Applied, parent)

    async def release_allocation(self, command: ReleaseAllocation) -> Released:
        """Free an allocation by name."""
        return await self._admin("release", command, Released)

    async def quarantine(self, command: QuarantineAddress) -> Applied:
        """Give an address to nobody until it is restored."""
        return await self._admin("quarantine", command, Applied)

    async def restore_address(self, command: RestoreAddress) -> Applied:
        """End the quarantine of an address."""
        return await self._admin("restore-address", command, Applied)

    async def quarantines(self, pool: str = "") -> Page:
        """The quarantined addresses, or those of a pool."""
        return await self._query("quarantines", queries.Quarantines(pool=pool), Page)

    async def import_allocation(self, command: ImportAllocation) -> Allocated:
        """Take over what another system has given out."""
        return await self._admin("import-allocation", command, Allocated)

    async def import_auto_pool(self, command: ImportAutoPool) -> Applied:
        """Take over a pool that another system has made for an application."""
        return await self._admin("import-auto-pool", command, Applied)

    async def status(self) -> Status:
        """How the engine that answers is."""
        return await self._query("status", queries.AskStatus(), Status)

    async def checkpoint(self) -> CheckpointSigned | None:
        """The newest signed checkpoint, None if none was signed yet."""
        answer = await self._query("checkpoint", queries.AskCheckpoint(), Checkpointed)
        return answer.checkpoint

    async def sign_checkpoint(self) -> CheckpointSigned:
        """A checkpoint of everything acknowledged, signed now."""
        subject = names.admin_command(self.realm, "checkpoint")
        answer = await self._ask(subject, _encode(SignCheckpoint()), Checkpointed)
        assert answer.checkpoint is not None, "it was signed before the answer was made"
        return answer.checkpoint

    async def pools(self, name: str = "") -> Page:
        """The pools, or the one named."""
        return await self._query("pools", queries.Pools(name=name), Page)

    async def subnets(self, name: str = "") -> Page:
        """The subnets, or the one named."""
        return await self._query("subnets", queries.Subnets(name=name), Page)

    async def reservations(self, name: str = "") -> Page:
        """The reservations, or the one named."""
        return await self._query("reservations", queries.Reservations(name=name), Page)

    def allocations(self, query: queries.AllocationsWhere) -> AsyncIterator[Page]:
        """The allocations asked for, part by part, all at one position."""
        return self._pages("allocations", query)

    def applications(self, query: queries.Applications) -> AsyncIterator[Page]:
        """The applications asked for, part by part, all at one position."""
        return self._pages("applications", query)

    async def _pages(self, verb: str, query: queries.Query) -> AsyncIterator[Page]:
        subject, payload = names.query(self.realm, verb), self._encode_query(query)
        answers: Subscription | None = None

        async def attempt(timeout_s: float) -> AnyAnswer:
            nonlocal answers
            await _end(answers)  # a late answer must not mix with another engine's to the next
            inbox = self.bus.new_inbox()
            answers = await self.bus.subscribe(inbox)
            await self.bus.publish(subject, payload, reply=inbox)
            return _decode((await _next(answers, timeout_s)).data)

        try:
            page = await self._retry(attempt, Page, self.timeout_s)
            yield page
            while not page.last:
                assert answers is not None
                message = await answers.next_msg(_PAGE_TIMEOUT_S)
                page = _expect(_decode(message.data), Page)
                yield page
        except nats.errors.TimeoutError:
            raise EngineUnavailableError("the rest of the rows did not come") from None
        finally:
            await _end(answers)

    async def _query(self, verb: str, query: queries.Query, want: type[T]) -> T:
        return await self._ask(names.query(self.realm, verb), self._encode_query(query), want)

    def _encode_query(self, query: queries.Query) -> bytes:
        at_least = "" if self.position == START else str(self.position)
        return _encode(msgspec.structs.replace(query, at_least=at_least))

    async def _admin(self, verb: str, command: AnyCommand, want: type[T], parent: str = "") -> T:
        """Ask for what has another answer the second time: an engine answers one after another,
        so that the first answer to any attempt tells what was done."""
        subject, inbox = names.admin_command(self.realm, verb), self.bus.new_inbox()
        answers: Subscription | None = None

        async def send(payload: bytes, timeout_s: float, headers: Headers) -> Message:
            nonlocal answers
            answers = answers or await self.bus.subscribe(inbox)
            await self.bus.publish(subject, payload, reply=inbox, headers=headers)
            return await _next(answers, timeout_s)

        try:
            return await self._command(subject, command, want, send, parent=parent)
        finally:
            await _end(answers)

    async def _node(
        self, subject: str, command: AnyCommand, want: type[T], timeout_s: float | None
    ) -> T:
        """Ask for what has the same answer however often it is asked for."""

        async def send(payload: bytes, timeout_s: float, headers: Headers) -> Message:
            return await self.bus.request(subject, payload, timeout_s, headers=headers)

        return await self._command(subject, command, want, send, timeout_s)

    async def _command(
        self,
        subject: str,
        command: AnyCommand,
        want: type[T],
        send: Callable[[bytes, float, Headers], Awaitable[Message]],
        timeout_s: float | None = None,
        parent: str = "",
    ) -> T:
        """Ask with a span for each attempt, in the trace of the asker or of the command."""
        payload, parent = _encode(command), parent or getattr(command, "traceparent", "")

        async def attempt(attempt_timeout_s: float) -> AnyAnswer:
            with _begin_span(subject, parent) as span:
                message = await send(payload, attempt_timeout_s, tracing.headers_of(span))
                answer = _decode(message.data)
                if isinstance(answer, TryAgain):
                    tracing.fail(span, answer.message)
                return answer

        return await self._retry(attempt, want, self.timeout_s if timeout_s is None else timeout_s)

    async def _ask(
        self, subject: str, payload: bytes, want: type[T], timeout_s: float | None = None
    ) -> T:
        async def attempt(attempt_timeout_s: float) -> AnyAnswer:
            message = await self.bus.request(subject, payload, timeout=attempt_timeout_s)
            return _decode(message.data)

        return await self._retry(attempt, want, self.timeout_s if timeout_s is None else timeout_s)

    async def _retry(
        self, attempt: Callable[[float], Awaitable[AnyAnswer]], want: type[T], timeout_s: float
    ) -> T:
        """Try until an engine answers for certain; sent twice, a command does nothing twice."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        delay_s, attempt_s = _RETRY_FIRST_S, _ATTEMPT_TIMEOUT_FIRST_S
        why = "no time was given"
        while (left_s := deadline - clock()) > 0:
            answer = await self._attempt(attempt, min(left_s, attempt_s))
            if not isinstance(answer, str | TryAgain):
                self._remember(answer)
                self.counts.answered += 1
                return _expect(answer, want)
            why = answer if isinstance(answer, str) else answer.message
            self.counts.retries += 1
            left_s = deadline - clock()
            await asyncio.sleep(max(0.0, min(delay_s * self.random.uniform(0.5, 1.5), left_s)))
            delay_s = min(delay_s * 2, _RETRY_MAX_S)
            attempt_s = min(attempt_s * 2, _ATTEMPT_TIMEOUT_MAX_S)
        self.counts.unavailable += 1
        raise EngineUnavailableError(f"{why}, tried for {timeout_s:g} s")

    async def _attempt(
        self, attempt: Callable[[float], Awaitable[AnyAnswer]], timeout_s: float
    ) -> AnyAnswer | str:
        """One attempt: the answer, or why there is none."""
        if not self.bus.is_connected:  # what is sent now would go out late, when nobody waits
            return "NATS cannot be reached"
        try:
            return await attempt(timeout_s)
        except nats.errors.NoRespondersError:
            return f"no engine serves realm {self.realm!r}"
        except nats.errors.MaxPayloadError:
            size = f"more than the {self.bus.max_payload} bytes that the NATS server takes"
            raise RefusedError(Refusal(Reason.BAD_REQUEST, f"the request is {size}")) from None
        except (TimeoutError, nats.errors.TimeoutError):
            return "the engine did not answer"
        except nats.errors.Error as error:
            return f"NATS cannot be reached ({error!r})"

    def _remember(self, answer: AnyAnswer) -> None:
        position: str = getattr(answer, "position", "")
        if position:
            self.position = max(self.position, Position.parse(position))
            if self.oldest == START:
                self.oldest = self.position


def _begin_span(subject: str, parent: str) -> Span:
    if not tracing.is_on():
        return tracing.NO_SPAN
    sent_to = {"messaging.system": "nats", "messaging.destination.name": subject}
    verb = subject.rpartition(".")[2]
    return tracing.begin(f"send {verb}", parent, kind=SpanKind.CLIENT, attributes=sent_to)


async def _next(answers: Subscription, timeout_s: float) -> Message:
    message = await answers.next_msg(timeout_s)
    if not message.data:  # the server's own answer: nobody listens on the subject
        raise nats.errors.NoRespondersError
    return message


async def _end(subscription: Subscription | None) -> None:
    if subscription is not None:
        with contextlib.suppress(nats.errors.Error):
            await subscription.unsubscribe()


def _expect(answer: AnyAnswer, want: type[T]) -> T:
    if isinstance(answer, Refused):
        raise RefusedError(answer.refusal)
    assert isinstance(answer, want), f"an engine of another release answered {answer!r}"
    return answer
