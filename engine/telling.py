"""What is told of a command beside its answer: a span and a line in the log of this process.

The log of the realm has every decision. A line here is for whoever reads a process's own log: what
operators, controller and collector asked for by default, what agents asked for at level debug,
since each agent has a line of its own for that.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from opentelemetry.trace import Span, SpanKind

from ipledger.engine.answers import AnyAnswer, Refused, TryAgain
from ipledger.engine.commands import AnyCommand, Confirm, NodeCommand
from ipledger.engine.commit_loop import Reply, Request
from ipledger.engine.waiting import places
from ipledger.engine.wording import attributes_of, facts_of
from ipledger.events import tracing
from ipledger.events.bus import Message
from ipledger.events.logs import tell
from ipledger.events.traceparent import trace_id

_log = logging.getLogger(__name__)


def tells_all() -> bool:
    """Whether anybody listens to what is told of each single command of an agent.

    That is settled when a process starts; commands are too many to ask for each.
    """
    return tracing.is_on() or _log.isEnabledFor(logging.DEBUG)


def told(message: Message, command: AnyCommand, reply: Reply) -> Request:
    """The request for a command that has come, told of as far as anybody listens."""
    node = command.node if isinstance(command, NodeCommand) else ""
    plain = Request(command, reply, node=node, places=places(message.data))
    level = logging.DEBUG if node else logging.INFO
    if isinstance(command, Confirm):
        return plain
    verb = message.subject.rpartition(".")[2]
    span = _begin(message, command, verb)
    wanted = level if _log.isEnabledFor(level) else None
    return plain._replace(reply=_Telling(reply, span, verb, command, wanted), span=span)


def _begin(message: Message, command: AnyCommand, verb: str) -> Span:
    """The span of a command, which ends with its answer.

    Its parent is the attempt that it came by, which the header tells; the payload has the same
    text at each attempt, and is the log's.
    """
    stored: str = getattr(command, "traceparent", "")
    parent = (message.headers or {}).get("traceparent", stored)
    received = {"messaging.system": "nats", "messaging.destination.name": message.subject}
    return tracing.begin(f"ipledger.{verb}", parent, kind=SpanKind.SERVER, attributes=received)


@dataclass(frozen=True, slots=True)
class _Telling:
    """Replies, and tells of it. `level` is of the line, None for none."""

    reply: Reply
    span: Span
    verb: str
    command: AnyCommand
    level: int | None
    began: float = field(default_factory=time.perf_counter)

    async def __call__(self, answer: AnyAnswer) -> None:
        facts = facts_of(answer)
        with self.span as span:
            span.set_attributes(attributes_of(facts))
            if isinstance(answer, TryAgain):
                tracing.fail(span, answer.message)
            await self.reply(answer)
        if self.level is not None:
            self._line(answer, facts)

    def _line(self, answer: AnyAnswer, facts: dict[str, str]) -> None:
        refused = isinstance(answer, Refused)
        what = f"refused: {answer.refusal.message}" if isinstance(answer, Refused) else "answered"
        level = logging.WARNING if refused and self.level == logging.INFO else self.level
        assert level is not None
        context = tracing.traceparent_of(self.span) or getattr(self.command, "traceparent", "")
        tell(
            _log,
            level,
            f"{self.verb} {what}",
            command=self.verb,
            **_subject(self.command),
            **facts,
            trace_id=trace_id(context),
            duration_ms=round((time.perf_counter() - self.began) * 1000, 3),
        )


def _subject(command: AnyCommand) -> dict[str, str]:
    """Whom a command is about: names only, nothing that a manifest or an annotation says."""
    words = ("node", "sandbox", "interface", "name")
    found = {word: getattr(command, word, "") for word in words}
    pod = getattr(command, "pod", None)
    named = next(
        (
            getattr(command, word)
            for word in ("pool", "subnet", "reservation", "application")
            if hasattr(command, word)
        ),
        None,
    )
    if pod is not None:
        found["pod"] = str(pod)
    if named is not None:
        found["name"] = named.name
    return {word: text for word, text in found.items() if isinstance(text, str) and text}
