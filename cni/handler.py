"""What each CNI verb does, on the node: one call to the engine, and what to say to the runtime.

Runtimes are rough (DESIGN section 7): a DEL may overtake its ADD, come many times, come for a
sandbox never seen, or come late. The engine's state settles each of these; here is only what
the node alone can know.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from ipledger.cni.errors import CniError, Code
from ipledger.cni.outbox import Outbox, StoreError
from ipledger.cni.pod_view import PodView
from ipledger.cni.proving import Proving
from ipledger.cni.request import CniRequest
from ipledger.cni.result import encode_result
from ipledger.engine.answers import Allocated
from ipledger.engine.client import EngineClient, EngineUnavailableError, RefusedError
from ipledger.engine.commands import Allocate, Conflict, Release, RetainAttachments, Steps
from ipledger.engine.commands import Attachment as Listed
from ipledger.engine.queries import Attached
from ipledger.engine.refusals import Reason, Refusal
from ipledger.engine.waiting import NODE_MAX
from ipledger.engine.wording import facts_of
from ipledger.events import tracing
from ipledger.events.position import START, Position
from ipledger.projections.fence import FENCE_MICROS
from ipledger.projections.rows import AllocationRow

_log = logging.getLogger(__name__)

_ADD_TIMEOUT_S = 60.0
_DEL_TIMEOUT_S = 2.0
_GC_TIMEOUT_S = 10.0
_STATUS_TIMEOUT_S = 2.0
_REMEMBERED_MAX = 4096

_ADDS_AT_ONCE = NODE_MAX * 3 // 4
"""ADDs that are with the engine at once: what it lets wait of one node, less room for DELs."""

_ADDS_MAX = 4096
"""ADDs in progress; one more may try again at once."""
_FENCE_S = FENCE_MICROS / 1e6

Attachment: TypeAlias = tuple[str, str]


def _now() -> float:
    return asyncio.get_running_loop().time()


class Handled(NamedTuple):
    """A call that was carried out: what the runtime is told, and what else is known of it."""

    body: bytes = b""
    facts: Mapping[str, str] = MappingProxyType({})


class _Clock:
    """Tells the time of later steps of a call from the time at which the agent was asked."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._began = _now()

    def sent(self) -> Steps:
        """The steps of a command that is sent now."""
        sent = self._steps.agent + round((_now() - self._began) * 1e6)
        return Steps(self._steps.shim, self._steps.agent, sent)


class _Recent:
    """Attachments and when something happened to them; the newest _REMEMBERED_MAX."""

    def __init__(self) -> None:
        self._at: OrderedDict[Attachment, float] = OrderedDict()

    def add(self, attachment: Attachment) -> None:
        self._at[attachment] = _now()
        if len(self._at) > _REMEMBERED_MAX:
            self._at.popitem(last=False)

    def remove(self, attachment: Attachment) -> None:
        self._at.pop(attachment, None)

    def within(self, attachment: Attachment, seconds: float) -> bool:
        at = self._at.get(attachment)
        return at is not None and _now() - at < seconds


@dataclass(slots=True)
class CniHandler:
    """Carries out CNI calls of one node. `add_timeout_s` is how long an ADD is tried.

    `pods` knows what the cluster knows of a pod; without it, the network configuration says all.
    `proving` probes addresses before they are handed over, where an interface is named.
    """

    client: EngineClient
    outbox: Outbox
    node: str
    add_timeout_s: float = _ADD_TIMEOUT_S
    pods: PodView | None = None
    proving: Proving = field(default_factory=Proving)
    _refused: _Recent = field(default_factory=_Recent, init=False)
    _ended: _Recent = field(default_factory=_Recent, init=False)
    _slots: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(_ADDS_AT_ONCE), init=False
    )
    _adds: int = field(default=0, init=False)
    _adding: dict[Attachment, list[asyncio.Task[Allocated]]] = field(
        default_factory=dict[Attachment, "list[asyncio.Task[Allocated]]"], init=False
    )

    async def handle(self, request: CniRequest, steps: Steps) -> Handled:
        """Carry out a call that took these steps on its way here. Raises `CniError`."""
        clock = _Clock(steps)
        match request.command:
            case "ADD":
                return await self._add(request, clock)
            case "DEL":
                return await self._delete(request, clock)
            case "GC":
                return await self._collect(request, clock)
            case "STATUS":
                return await self._status()
            case _:
                return await self._check(request)

    async def _add(self, request: CniRequest, clock: _Clock) -> Handled:
        attachment = (request.sandbox, request.interface)
        self._check_not_ended(attachment)
        if self._adds >= _ADDS_MAX:
            message = f"{_ADDS_MAX} ADDs are in progress on this node"
            raise CniError(Code.TRY_AGAIN_LATER, message)
        self._refused.remove(attachment)
        self._adds += 1
        asking = asyncio.create_task(self._ask(request, clock))
        self._adding.setdefault(attachment, []).append(asking)
        try:
            answer = await asking
        except asyncio.CancelledError:
            self._check_not_ended(attachment)
            raise
        except RefusedError as error:
            self._refused.add(attachment)
            raise CniError.of_refusal(error.refusal) from error
        except EngineUnavailableError as error:
            raise _try_again(error) from error
        finally:
            self._no_longer_adding(attachment, asking)
        body = encode_result(request.config.cni_version, answer.allocation)
        return Handled(body, facts_of(answer))

    async def _ask(self, request: CniRequest, clock: _Clock) -> Allocated:
        request = await self._completed(request)
        until = _now() + self.add_timeout_s

        async def ask(conflicts: tuple[Conflict, ...] = ()) -> Allocated:
            async with self._slot(until):
                command = self._allocate(request, clock, conflicts)
                return await self.client.allocate(command, until - _now())

        interface = request.config.ipam.probe_interface or self.proving.probe.settings.interface
        if not interface:
            return await ask()
        async with self.proving.turn((request.sandbox, request.interface)):
            told, of = await self._told(until), (request.pod.uid, request.interface)
            return await self.proving.proved(ask, of, interface, told, request.traceparent)

    async def _told(self, until: float) -> Position:
        """The newest position that this agent was told; one that has just started asks for it."""
        if self.client.position == START:
            await self.client.confirm(self.node, until - _now())
        return self.client.position

    @contextlib.asynccontextmanager
    async def _slot(self, until: float) -> AsyncGenerator[None]:
        """One of the places of ADDs with the engine. Raises `EngineUnavailableError`."""
        try:
            async with asyncio.timeout_at(until):
                await self._slots.acquire()
        except TimeoutError:
            what = f"{_ADDS_AT_ONCE} other ADDs of this node wait for it"
            raise EngineUnavailableError(f"{what}, tried for {self.add_timeout_s:g} s") from None
        try:
            yield
        finally:
            self._slots.release()

    def _check_not_ended(self, attachment: Attachment) -> None:
        if self._ended.within(attachment, _FENCE_S):
            message = f"sandbox {attachment[0]} interface {attachment[1]} was deleted"
            raise CniError.of_refusal(Refusal(Reason.ATTACHMENT_ENDED, message))

    def _no_longer_adding(self, attachment: Attachment, asking: asyncio.Task[Allocated]) -> None:
        self._adds -= 1
        self._adding[attachment].remove(asking)
        if not self._adding[attachment]:
            del self._adding[attachment]

    async def _completed(self, request: CniRequest) -> CniRequest:
        if self.pods is None:
            return request
        try:
            with tracing.begin("cni.pod", request.traceparent):
                return await self.pods.completed(request)
        except CniError:
            self._refused.add((request.sandbox, request.interface))  # the engine never heard of it
            raise

    def _allocate(
        self, request: CniRequest, clock: _Clock, conflicts: tuple[Conflict, ...]
    ) -> Allocate:
        ipam, inputs = request.config.ipam, request.inputs
        return Allocate(
            pod=request.pod,
            sandbox=request.sandbox,
            interface=request.interface,
            node=self.node,
            network=request.config.name,
            default_ipv4_pools=ipam.default_ipv4_ippool,
            default_ipv6_pools=ipam.default_ipv6_ippool,
            clean_gateway=ipam.clean_gateway,
            owner=inputs.owner,
            replicas=inputs.replicas,
            auto_pools=ipam.auto_pools,
            labels=inputs.labels,
            annotations=inputs.annotations,
            namespace_labels=inputs.namespace_labels,
            namespace_annotations=inputs.namespace_annotations,
            node_labels=inputs.node_labels,
            network_name=inputs.network_name,
            traceparent=request.traceparent,
            steps=clock.sent(),
            conflicts=conflicts,
        )

    async def _delete(self, request: CniRequest, clock: _Clock) -> Handled:
        attachment = (request.sandbox, request.interface)
        was_adding = self._end(attachment)
        release = Release(
            sandbox=request.sandbox,
            interface=request.interface,
            node=self.node,
            # An ADD that was answered with a refusal is not on its way any more, so its DEL (one
            # for each of kubelet's retries) need not be recorded in the log to fence it off.
            fence=was_adding or not self._refused.within(attachment, _FENCE_S),
            ended_pod=await self._ended_pod(request),
            traceparent=request.traceparent,
            steps=clock.sent(),
        )
        try:
            answer = await self.client.release(release, _DEL_TIMEOUT_S)
        except RefusedError as error:
            raise CniError.of_refusal(error.refusal) from error
        except EngineUnavailableError as error:
            _log.warning("release of sandbox %s is kept for later: %s", request.sandbox, error)
            await self._keep(release)
            return Handled(facts={"outcome": "kept for later", "reason": str(error)})
        return Handled(facts=facts_of(answer))

    async def _ended_pod(self, request: CniRequest) -> str:
        """The UID of the pod if it is known to be over: what was imported for it is freed (ADR 63).

        The DEL of a living pod's sandbox may be that of an earlier one, come late.
        """
        if self.pods is None or not request.has_uid or not request.pod.namespace:
            return ""
        return request.pod.uid if await self.pods.has_ended(request) else ""

    def _end(self, attachment: Attachment) -> bool:
        """No ADD of this attachment is tried from here on. Returns whether one was.

        The runtime has killed the plugin that asked for it. Where the DEL ends up in the outbox,
        the next pod of the same place may come before it is sent.
        """
        self._ended.add(attachment)
        adding = self._adding.get(attachment, ())
        for asking in adding:
            asking.cancel()
        return bool(adding)

    async def _keep(self, release: Release) -> None:
        try:
            await self.outbox.put(release)
        except StoreError as error:
            message = f"the release could not be stored: {error}"
            raise CniError(Code.IO_FAILURE, message) from error

    async def _collect(self, request: CniRequest, clock: _Clock) -> Handled:
        """A GC. It is not kept for later: its list would be too old by then."""
        retain = RetainAttachments(
            network=request.config.name,
            attachments=tuple(Listed(a.container_id, a.interface) for a in request.valid),
            node=self.node,
            traceparent=request.traceparent,
            steps=clock.sent(),
        )
        try:
            answer = await self.client.retain(retain, _GC_TIMEOUT_S)
        except RefusedError as error:
            raise CniError.of_refusal(error.refusal) from error
        except EngineUnavailableError as error:
            raise _try_again(error) from error
        for allocation in answer.released:
            _log.info("the runtime lists allocation %s no more: released", allocation)
        return Handled(facts=facts_of(answer))

    async def _status(self) -> Handled:
        """Whether an ADD would be heard by an engine that leads."""
        try:
            await self.client.confirm(self.node, _STATUS_TIMEOUT_S)
        except (EngineUnavailableError, RefusedError) as error:
            message = "no address can be given out: the ipledger engine cannot be reached"
            raise CniError(Code.NOT_AVAILABLE, message, str(error)) from error
        return Handled()

    async def _check(self, request: CniRequest) -> Handled:
        previous = request.config.prev_result
        if previous is None:
            message = "prevResult: required for CHECK, but missing"
            raise CniError(Code.INVALID_NETWORK_CONFIG, message)
        held = await self._held(request)
        addresses = {address.address for address in held.addresses} if held else set[str]()
        stated = {address.address for address in previous.ips}
        if not addresses or not addresses <= stated:
            raise CniError(
                Code.NOT_AS_IN_PREV_RESULT,
                f"sandbox {request.sandbox} interface {request.interface} holds "
                f"{', '.join(sorted(addresses)) or 'no address'}, but prevResult states "
                f"{', '.join(sorted(stated)) or 'none'}",
            )
        return Handled()

    async def _held(self, request: CniRequest) -> AllocationRow | None:
        query = Attached(sandbox=request.sandbox, interface=request.interface, node=self.node)
        try:
            return next(iter((await self.client.show(query)).allocations), None)
        except EngineUnavailableError as error:
            raise _try_again(error) from error


def _try_again(error: EngineUnavailableError) -> CniError:
    return CniError(Code.TRY_AGAIN_LATER, "the ipledger engine cannot be reached", str(error))
