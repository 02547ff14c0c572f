"""Which variables turn tracing on, and that nothing of it is loaded where they do not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ipledger.events import tracing
from ipledger.events.traceparent import is_sampled, trace_id, valid
from ipledger.events.tracing_sdk import TracingError, exporters, tracing_by

CONTEXT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, ()),
        ({"OTEL_TRACES_EXPORTER": ""}, ()),
        ({"OTEL_TRACES_EXPORTER": "none"}, ()),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ("otlp",)),
        ({"OTEL_TRACES_EXPORTER": "otlp,console"}, ("otlp", "console")),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, ("otlp",)),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, ("otlp",)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "x", "OTEL_TRACES_EXPORTER": "none"}, ()),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "x", "OTEL_SDK_DISABLED": "TRUE"}, ()),
    ],
)
def test_tracing_is_off_unless_an_exporter_or_an_endpoint_is_named(
    environ: dict[str, str], wanted: tuple[str, ...]
) -> None:
    assert exporters(environ) == wanted


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "smoke"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
    ],
)
def test_a_wrong_word_is_one_error_that_names_variable_and_value(variable: str, value: str) -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", variable: value}
    with (
        pytest.raises(TracingError, match=f"^{variable}: '{value}' is not one of "),
        tracing_by(environ, "ipledger"),
    ):
        pass
    assert not tracing.is_on()


def test_the_sdk_is_not_loaded_while_tracing_is_off() -> None:
    roles = ("agent", "controller", "engine", "up", "webhook")
    program = f"""
import sys
import {", ".join(f"ipledger.cli.role_{role}" for role in roles)}
from ipledger.events.tracing_sdk import tracing_by
with tracing_by({{}}, "ipledger"):
    heavy = ("opentelemetry.sdk", "opentelemetry.exporter", "google.protobuf", "requests")
    sys.exit(any(name.startswith(heavy) for name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, env={})
    assert done.returncode == 0


def test_while_tracing_is_off_a_span_is_nothing() -> None:
    span = tracing.begin("x", CONTEXT)
    assert span is tracing.NO_SPAN
    assert tracing.begin_linked("y", [CONTEXT]) is tracing.NO_SPAN
    assert (tracing.traceparent_of(span), tracing.headers_of(span)) == ("", None)


@pytest.mark.parametrize(
    ("text", "good", "kept"),
    [
        (CONTEXT, True, True),
        (CONTEXT[:-1] + "0", True, False),
        (CONTEXT[:-2] + "03", True, True),
        ("ff" + CONTEXT[2:], False, False),
        (CONTEXT.upper(), False, False),
        ("00-" + "0" * 32 + CONTEXT[35:], False, False),
        (CONTEXT[:36] + "0" * 16 + "-01", False, False),
        (CONTEXT + "-x", False, False),
        ("", False, False),
    ],
)
def test_a_trace_context_is_read_as_w3c_has_it(text: str, good: bool, kept: bool) -> None:
    assert valid(text) == (text if good else "")
    assert bool(trace_id(text)) == good
    assert is_sampled(text) == kept
