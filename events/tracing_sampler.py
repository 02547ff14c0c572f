"""Which spans for many requests are kept. It loads the SDK, so only `tracing_sdk` loads this."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes


class LinkedSampler(Sampler):
    """Keeps a span that links to one that is kept; of all others, `other` decides.

    A commit is no request's child. Sampled by itself at one in a hundred, it would be missing
    from ninety-nine of a hundred traces that were kept.
    """

    def __init__(self, other: Sampler) -> None:
        self._other = other

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """See `Sampler.should_sample`."""
        is_kept = any(link.context.trace_flags.sampled for link in links or ())
        return (ALWAYS_ON if is_kept else self._other).should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        """See `Sampler.get_description`."""
        return f"LinkedSampler({self._other.get_description()})"
