"""One CNI call at the agent, from its arrival to its answer: what is told of it beside that."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import getrandbits

import msgspec
from opentelemetry.trace import Span, SpanKind

from ipledger.cni.errors import CniError
from ipledger.cni.handler import CniHandler
from ipledger.cni.metrics import DURATION, REQUESTS
from ipledger.cni.request import COMMANDS, CniRequest, cni_version_of, parse
from ipledger.engine.commands import Steps
from ipledger.engine.wording import attributes_of
from ipledger.events import traceparent, tracing
from ipledger.events.logs import tell
from ipledger.events.wall_clock import wall_clock

_log = logging.getLogger(__name__)

_DIGITS = re.compile(r"[0-9]{1,18}")
_SHIM_MICROS_MAX = 90_000_000  # it waits no longer


@dataclass(slots=True)
class Call:
    """A call that has come. `body` is the network configuration, `code` the CNI error or 0."""

    headers: Mapping[str, str]
    command: str
    steps: Steps
    span: Span
    began: float
    body: bytes = b""
    code: int = 0
    refused: str = ""
    request: CniRequest | None = None
    facts: dict[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def begin(cls, headers: Mapping[str, str]) -> Call:
        """A call that comes now. Its span begins with the shim: a pod waits from there on."""
        command, steps = headers.get("Cni-Command", ""), _steps(headers)
        if command not in COMMANDS:
            command = "other"
        span = tracing.begin(
            f"cni.{command.lower()}",
            traceparent.valid(headers.get("Traceparent", "")),
            kind=SpanKind.SERVER,
            at=steps.shim or steps.agent,
        )
        return cls(headers, command, steps, span, time.perf_counter())

    async def carry_out(self, handler: CniHandler) -> bytes:
        """What the runtime is told. Raises `CniError`."""
        self.request = self._traced(parse(self.headers, self.body))
        handled = await handler.handle(self.request, self.steps)
        self.facts.update(handled.facts)
        return handled.body

    def _traced(self, request: CniRequest) -> CniRequest:
        """The call with a trace context: where there is none, `ipledger trace` needs one."""
        own = tracing.traceparent_of(self.span)
        if own:
            self._describe(request, own)
        elif request.traceparent:
            return request
        context = own or traceparent.unsampled(getrandbits)
        return msgspec.structs.replace(request, traceparent=context)

    def _describe(self, request: CniRequest, own: str) -> None:
        self.span.set_attributes(
            {
                "k8s.namespace.name": request.pod.namespace,
                "k8s.pod.name": request.pod.name,
                "k8s.pod.uid": request.pod.uid,
                "container.id": request.sandbox,
                "ipledger.interface": request.interface,
            }
        )
        if self.steps.shim:
            tracing.took("cni.shim", own, self.steps.shim, self.steps.agent)

    def refuse(self, error: CniError) -> bytes:
        """What the runtime is told of an error."""
        self.code, self.refused = error.code, str(error)
        if error.reason:
            self.facts["reason"] = error.reason
        tracing.fail(self.span, str(error))
        return error.encode(cni_version_of(self.body))

    def end(self) -> None:
        """It was answered."""
        self._line()
        REQUESTS.labels(self.command, self.code).inc()
        DURATION.labels(self.command).observe(time.perf_counter() - self.began)
        self.span.set_attributes(attributes_of(self.facts))
        self.span.end()

    def _line(self) -> None:
        level = logging.WARNING if self.code else logging.INFO
        if self.command == "STATUS" and not self.code:  # asked all the time
            level = logging.DEBUG
        if _log.isEnabledFor(level):
            request = self.request
            tell(
                _log,
                level,
                f"{self.command} {f'refused: {self.refused}' if self.code else 'answered'}",
                command=self.command,
                pod=str(request.pod) if request else "",
                sandbox=self.headers.get("Cni-Containerid", ""),
                interface=self.headers.get("Cni-Ifname", ""),
                code=self.code or None,
                trace_id=traceparent.trace_id(request.traceparent) if request else "",
                duration_ms=round((time.perf_counter() - self.began) * 1000, 3),
                **self.facts,
            )


def _steps(headers: Mapping[str, str]) -> Steps:
    """When the shim began, which it tells by the clock of this machine that nobody sets."""
    now, text = wall_clock(), headers.get("Ipledger-Started", "")
    ago = time.monotonic_ns() // 1000 - int(text) if _DIGITS.fullmatch(text) else -1
    return Steps(shim=now - ago if 0 <= ago < _SHIM_MICROS_MAX else 0, agent=now)
