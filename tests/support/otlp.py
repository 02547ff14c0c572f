"""A real receiver of traces: OTLP by HTTP, as a collector speaks it, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
from aiohttp import web
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as trace_service
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2

from support.program import until

WAIT_S = 30.0


@dataclass(frozen=True)
class Received:
    """A span. Ids are hexadecimal, `links` the ids of spans, times in nanoseconds (Unix)."""

    name: str
    trace: str
    id: str
    parent: str
    links: tuple[str, ...]
    kind: str
    failed: str
    started: int
    ended: int
    events: tuple[str, ...]
    attributes: dict[str, object]
    resource: dict[str, object]


@dataclass
class Receiver:
    """What came. `answer` says with which status a request is answered, None is never."""

    spans: list[Received] = field(default_factory=list[Received])
    url: str = ""
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    asked: int = 0
    answer: Callable[[], int | None] = lambda: 200

    def one(self, name: str, *, wait_s: float = WAIT_S, **attributes: object) -> Received:
        """The one span of this name and these attributes, once it has come."""
        found = until(lambda: self.named(name, **attributes), wait_s)
        assert len(found) == 1, found
        return found[0]

    def named(self, name: str, **attributes: object) -> list[Received]:
        """All that have come; in an attribute's name, `_` stands for a dot."""
        wanted = {key.replace("_", "."): value for key, value in attributes.items()}
        return [s for s in self.spans if s.name == name and wanted.items() <= s.attributes.items()]

    def linked(self, name: str) -> Received:
        """The one span of this name with links: a command sent again under load writes nothing."""
        found = until(lambda: [span for span in self.named(name) if span.links], WAIT_S)
        assert len(found) == 1, found
        return found[0]

    def by_id(self, span: str) -> Received:
        """One span, once it has come."""
        return until(lambda: next((s for s in self.spans if s.id == span), None), WAIT_S)

    def child(self, span: Received) -> Received:
        """A child of a span, once it has come."""
        return until(lambda: next((s for s in self.spans if s.parent == span.id), None), WAIT_S)

    def take(self, request: ExportTraceServiceRequest) -> None:
        """Keep what a request brings."""
        for resource_spans in request.resource_spans:
            for scope_spans in resource_spans.scope_spans:
                assert scope_spans.scope.name == "ipledger"
                for span in scope_spans.spans:
                    self.spans.append(_received(span, resource_spans.resource))


def _received(span: trace_pb2.Span, resource: Resource) -> Received:
    failed = span.status.code == trace_pb2.Status.STATUS_CODE_ERROR
    return Received(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        links=tuple(link.span_id.hex() for link in span.links),
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        failed=span.status.message or "failed" if failed else "",
        started=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
        events=tuple(event.name for event in span.events),
        attributes=_attributes(span.attributes),
        resource=_attributes(resource.attributes),
    )


def _attributes(given: Iterable[KeyValue]) -> dict[str, object]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value") or "") for a in given}


@contextmanager
def receiving() -> Generator[Receiver]:
    """A receiver that listens on loopback, by HTTP."""
    receiver = Receiver()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    ended = asyncio.Event()
    runner = asyncio.run_coroutine_threadsafe(_listen(receiver, ended), loop).result(WAIT_S)
    try:
        yield receiver
    finally:
        loop.call_soon_threadsafe(ended.set)
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(WAIT_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(WAIT_S)
        loop.close()


async def _listen(receiver: Receiver, ended: asyncio.Event) -> web.AppRunner:
    async def traces(request: web.Request) -> web.Response:
        receiver.asked += 1
        status = receiver.answer()
        if status is None:
            await ended.wait()
            return web.Response(status=503)
        receiver.headers.append(dict(request.headers))
        body = await request.read()
        if status == 200:
            receiver.take(ExportTraceServiceRequest.FromString(body))
        content = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=content, status=status, content_type="application/x-protobuf")

    application = web.Application()
    application.router.add_post("/v1/traces", traces)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    return runner


class _Servicer(trace_service.TraceServiceServicer):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def Export(  # noqa: N802  # the protocol's name
        self, request: ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> ExportTraceServiceResponse:
        self._receiver.take(request)
        return ExportTraceServiceResponse()


@contextmanager
def receiving_grpc() -> Generator[Receiver]:
    """A receiver that listens on loopback, by gRPC."""
    receiver = Receiver()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service.add_TraceServiceServicer_to_server(  # type: ignore[no-untyped-call]
        _Servicer(receiver), server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    receiver.url = f"http://127.0.0.1:{port}"
    try:
        yield receiver
    finally:
        server.stop(None).wait()
