"""Spans, by the OpenTelemetry API. Tracing is off until `turn_on`, and costs nothing while it is.

A context goes from one process to the next, and into the log, as the text of a `traceparent`
(events/traceparent.py); a span knows its parent by that text alone, never by what runs around it.
Attributes have OpenTelemetry's names where there is one, else names that begin with `ipledger.`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from ipledger.events.traceparent import is_sampled, valid

NO_SPAN: Span = INVALID_SPAN
"""What `begin` returns while tracing is off."""

Attributes = Mapping[str, AttributeValue]

_ROOT = Context()
_tracer: Tracer | None = None


def turn_on(tracer: Tracer | None) -> None:
    """Make spans by this tracer from here on, or none."""
    global _tracer
    _tracer = tracer


def is_on() -> bool:
    """Whether spans are made: whoever computes something only for a span asks before."""
    return _tracer is not None


def begin(
    name: str,
    parent: str = "",
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Attributes | None = None,
    at: int = 0,
) -> Span:
    """A span that has begun, now or at a time (microseconds, Unix). `parent` is a traceparent.

    In a `with` it ends behind the body, and what the body raises is its error.
    """
    if _tracer is None:
        return NO_SPAN
    return _tracer.start_span(
        name, _context(parent), kind, attributes, start_time=_nanos(at), record_exception=False
    )


def begin_linked(
    name: str,
    links: Iterable[str],
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Attributes | None = None,
) -> Span:
    """A span for many others at once, with a trace of its own; `NO_SPAN` if none of them is kept.

    `links` are their traceparents.
    """
    if _tracer is None:
        return NO_SPAN
    sampled = [Link(_span_context(link)) for link in links if is_sampled(link)]
    if not sampled:
        return NO_SPAN
    return _tracer.start_span(name, _ROOT, kind, attributes, sampled, record_exception=False)


def begin_consuming(name: str, sequence: int, sent: str) -> Span:
    """A span for what is made of an entry of the log; `sent` is the traceparent that came with it.

    `NO_SPAN` if the span in which it was sent is not kept.
    """
    if _tracer is None:
        return NO_SPAN
    attributes = {"ipledger.sequence": sequence}
    return begin_linked(name, (sent,), kind=SpanKind.CONSUMER, attributes=attributes)


def fail(span: Span, why: str) -> None:
    """What the span stands for went wrong."""
    span.set_status(Status(StatusCode.ERROR, why))


def took(name: str, parent: str, begun: int, ended: int) -> None:
    """A span for something that is over, from one time to another (microseconds, Unix)."""
    begin(name, parent, at=begun).end(_nanos(ended))


def link(span: Span, other: Span) -> None:
    """Make a span point to another one that is kept."""
    context = other.get_span_context()
    if context.is_valid:
        span.add_link(context)


def traceparent_of(span: Span) -> str:
    """The context of a span, '' while tracing is off."""
    context = span.get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def headers_of(span: Span) -> dict[str, str] | None:
    """The headers of a message that carries on a span; none if nobody keeps it."""
    return {"traceparent": traceparent_of(span)} if span.is_recording() else None


def _context(parent: str) -> Context:
    if not valid(parent):
        return _ROOT
    return set_span_in_context(NonRecordingSpan(_span_context(parent)), _ROOT)


def _span_context(text: str) -> SpanContext:
    _, trace, span, flags = text.split("-")
    kept = TraceFlags(int(flags, 16))
    return SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=kept)


def _nanos(micros: int) -> int | None:
    return micros * 1000 or None
