"""The typed client of the engine: commands and queries over NATS, tried again until a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import nats.errors
from nats.aio.client import Client as NatsClient

from ipledger.engine import queries
from ipledger.engine.answers import (
    Allocated,
    AnyAnswer,
    Applied,
    Checked,
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
from ipledger.engine.refusals import Reason, Refusal
from ipledger.events import names
from ipledger.events.facts import Application
from ipledger.projections.applications import key_of

_ATTEMPT_TIMEOUT_FIRST_S = 1.0
_ATTEMPT_TIMEOUT_MAX_S = 5.0
_RETRY_FIRST_S = 0.02
_RETRY_MAX_S = 1.0

T = TypeVar("T", bound=AnyAnswer)

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
class EngineClient:
    """Asks the engine of a realm. Every method raises `EngineUnavailableError` and `RefusedError`.

    `timeout_s` is how long a request is tried; each one may be given less.
    """

    nc: NatsClient
    realm: str = names.REALM_DEFAULT
    timeout_s: float = 10.0

    async def allocate(self, command: Allocate, timeout_s: float | None = None) -> Allocated:
        """Send a node's ADD."""
        subject = names.node_command(self.realm, command.node, "allocate")
        return await self._ask(subject, command, Allocated, timeout_s)

    async def release(self, command: Release, timeout_s: float | None = None) -> Released:
        """Send a node's DEL."""
        subject = names.node_command(self.realm, command.node, "release")
        return await self._ask(subject, command, Released, timeout_s)

    async def retain(self, command: RetainAttachments, timeout_s: float | None = None) -> Retained:
        """Send a node's GC."""
        subject = names.node_command(self.realm, command.node, "retain")
        return await self._ask(subject, command, Retained, timeout_s)

    async def confirm(self, node: str, timeout_s: float | None = None) -> Applied:
        """Whether the commands of a node reach an engine that leads."""
        subject = names.node_command(self.realm, node, "confirm")
        return await self._ask(subject, Confirm(), Applied, timeout_s)

    async def apply(self, command: AnyApply) -> Applied:
        """Create or change what a manifest describes."""
        return await self._admin(_APPLY_VERBS[type(command)], command, Applied)

    async def delete_pool(self, name: str) -> Applied:
        """Delete a pool."""
        return await self._admin("delete-pool", DeletePool(name=name), Applied)

    async def delete_subnet(self, name: str) -> Applied:
        """Delete a subnet."""
        return await self._admin("delete-subnet", DeleteSubnet(name=name), Applied)

    async def delete_reservation(self, name: str) -> Applied:
        """Delete a reservation."""
        return await self._admin("delete-reservation", DeleteReservation(name=name), Applied)

    async def check(self, commands: tuple[AnyApply, ...]) -> tuple[Forecast, ...]:
        """What these commands would do, one after another. Nothing is changed."""
        subject = names.query(self.realm, "check")
        return (await self._ask(subject, queries.Check(commands=commands), Checked)).forecasts

    async def delete_application(self, command: DeleteApplication) -> Applied:
        """Tell that a workload is gone."""
        return await self._admin("delete-application", command, Applied)

    async def release_allocation(self, command: ReleaseAllocation) -> Released:
        """Free an allocation by name."""
        return await self._admin("release", command, Released)

    async def status(self) -> Status:
        """How the engine is."""
        return await self._ask(names.query(self.realm, "status"), queries.AskStatus(), Status)

    async def pools(self, name: str = "") -> Page:
        """The pools, or the one named."""
        return await self._ask(names.query(self.realm, "pools"), queries.Pools(name=name), Page)

    async def subnets(self, name: str = "") -> Page:
        """The subnets, or the one named."""
        subject = names.query(self.realm, "subnets")
        return await self._ask(subject, queries.Subnets(name=name), Page)

    async def reservations(self, name: str = "") -> Page:
        """The reservations, or the one named."""
        subject = names.query(self.realm, "reservations")
        return await self._ask(subject, queries.Reservations(name=name), Page)

    async def applications(self) -> AsyncIterator[Application]:
        """The applications that are known, page by page, each at a position of its own."""
        subject, after, last = names.query(self.realm, "applications"), None, False
        while not last:
            page = await self._ask(subject, queries.Applications(after=after), Page)
            for application in page.applications:
                yield application
                after = key_of(application)
            last = page.last

    async def allocations(self, query: queries.AllocationsWhere) -> AsyncIterator[Page]:
        """The allocations asked for, part by part, all at one position."""
        inbox = self.nc.new_inbox()
        subscription = await self.nc.subscribe(inbox)
        subject = names.query(self.realm, "allocations")

        async def attempt(timeout_s: float) -> AnyAnswer:
            await self.nc.publish(subject, _encode(query), reply=inbox)
            message = await subscription.next_msg(timeout_s)
            if not message.data:  # the server's own answer: nobody listens on the subject
                raise nats.errors.NoRespondersError
            return _decode(message.data)

        try:
            page = await self._retry(attempt, Page, self.timeout_s)
            yield page
            while not page.last:
                message = await subscription.next_msg(_ATTEMPT_TIMEOUT_MAX_S)
                page = _expect(_decode(message.data), Page)
                yield page
        except nats.errors.TimeoutError:
            raise EngineUnavailableError("the rest of the rows did not come") from None
        finally:
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()

    async def _admin(self, verb: str, command: AnyCommand, want: type[T]) -> T:
        return await self._ask(names.admin_command(self.realm, verb), command, want)

    async def _ask(
        self, subject: str, body: msgspec.Struct, want: type[T], timeout_s: float | None = None
    ) -> T:
        payload = _encode(body)

        async def attempt(attempt_timeout_s: float) -> AnyAnswer:
            message = await self.nc.request(subject, payload, timeout=attempt_timeout_s)
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
            try:
                answer = await attempt(min(left_s, attempt_s))
            except nats.errors.NoRespondersError:
                why = f"no engine serves realm {self.realm!r}"
            except nats.errors.MaxPayloadError:
                size = f"more than the {self.nc.max_payload} bytes that the NATS server takes"
                raise RefusedError(Refusal(Reason.BAD_REQUEST, f"the request is {size}")) from None
            except (TimeoutError, nats.errors.TimeoutError):
                why = "the engine did not answer"
            except nats.errors.Error as error:
                why = f"NATS cannot be reached ({error!r})"
            else:
                if not isinstance(answer, TryAgain):
                    return _expect(answer, want)
                why = answer.message
            left_s = deadline - clock()
            await asyncio.sleep(max(0.0, min(delay_s * random.uniform(0.5, 1.5), left_s)))
            delay_s = min(delay_s * 2, _RETRY_MAX_S)
            attempt_s = min(attempt_s * 2, _ATTEMPT_TIMEOUT_MAX_S)
        raise EngineUnavailableError(f"{why}, tried for {timeout_s:g} s")


def _expect(answer: AnyAnswer, want: type[T]) -> T:
    if isinstance(answer, Refused):
        raise RefusedError(answer.refusal)
    assert isinstance(answer, want), f"an engine of another release answered {answer!r}"
    return answer
