"""The OpenTelemetry SDK, as the standard `OTEL_*` variables set it up; not loaded unless they do.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING

from ipledger import __version__
from ipledger.events import tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

FLUSH_S = 3.0
"""How long the end of a process waits for a receiver of its last spans."""

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_EXPORTERS = ("otlp", "console", "none")
_PROTOCOLS = ("http/protobuf", "grpc")
_SAMPLERS = tuple(
    f"{parent}{name}"
    for parent in ("", "parentbased_")
    for name in ("always_on", "always_off", "traceidratio")
)


class TracingError(Exception):
    """A variable cannot be right, or a package is missing; the message names it."""


def exporters(environ: Mapping[str, str]) -> tuple[str, ...]:
    """What to export by; nothing is the default, unless an endpoint is named.

    Raises `TracingError`.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ()
    default = "otlp" if any(map(environ.get, _ENDPOINTS)) else "none"
    words = (environ.get("OTEL_TRACES_EXPORTER") or default).split(",")
    wanted = tuple(_word("OTEL_TRACES_EXPORTER", word, _EXPORTERS) for word in words)
    return tuple(word for word in wanted if word != "none")


@contextlib.contextmanager
def tracing_by(environ: Mapping[str, str], service: str, instance: str = "") -> Generator[None]:
    """Tracing is on in the body, if the environment asks for it; in the end, spans are sent.

    `service` and `instance` tell this process from others, unless the environment does. A receiver
    that does not answer is waited for at most `FLUSH_S`. Raises `TracingError`.
    """
    wanted = exporters(environ)
    if not wanted:
        yield
        return
    provider = _provider(environ, service, instance, wanted)
    tracing.turn_on(provider.get_tracer("ipledger", __version__))
    try:
        yield
    finally:
        tracing.turn_on(None)
        ending = threading.Thread(target=provider.shutdown, daemon=True)
        ending.start()
        ending.join(FLUSH_S)


def _provider(
    environ: Mapping[str, str], service: str, instance: str, wanted: tuple[str, ...]
) -> TracerProvider:
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from ipledger.events.tracing_sampler import LinkedSampler

    if environ.get("OTEL_TRACES_SAMPLER"):
        _word("OTEL_TRACES_SAMPLER", environ["OTEL_TRACES_SAMPLER"], _SAMPLERS)
    told = {"service.name": service, "service.version": __version__}
    if instance:
        told["service.instance.id"] = instance
    resource = Resource.create(told).merge(OTELResourceDetector().detect())  # variables win
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.sampler = LinkedSampler(provider.sampler)
    for word in wanted:
        try:
            provider.add_span_processor(BatchSpanProcessor(_exporter(environ, word)))
        except ValueError as error:
            raise TracingError(f"OTEL_*: {error}") from error
    return provider


def _exporter(environ: Mapping[str, str], word: str) -> SpanExporter:
    if word == "console":
        import sys

        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stderr)
    name = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
    if not environ.get(name):
        name = "OTEL_EXPORTER_OTLP_PROTOCOL"
    if _word(name, environ.get(name) or _PROTOCOLS[0], _PROTOCOLS) == "grpc":
        return _grpc_exporter(name)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def _grpc_exporter(name: str) -> SpanExporter:
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    except ImportError:
        package = "opentelemetry-exporter-otlp-proto-grpc"
        raise TracingError(f"{name}: 'grpc' needs the package {package}") from None
    return OTLPSpanExporter()


def _word(variable: str, text: str, known: tuple[str, ...]) -> str:
    word = text.strip().lower()
    if word not in known:
        raise TracingError(f"{variable}: {text!r} is not one of {', '.join(known)}")
    return word
