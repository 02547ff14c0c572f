"""`ipledger trace`: the steps of a pod's ADD and DEL as a waterfall."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipledger.cli.connection import DEFAULT, Connection
from ipledger.cli.errors import EXIT_FAILURE
from ipledger.cli.output import Column, Format, Output, emit, field, note, print_facts, print_rows
from ipledger.cli.past import SOURCE, At, Source, moment_of, open_past, stands_on

if TYPE_CHECKING:
    from ipledger.replay.trace import StepTaken, Traced

_WIDTH = 40
"""Of the waterfall, in characters."""


async def trace(
    pod: str,
    /,
    *,
    interface: str = "",
    at: At = "",
    output: Output = "table",
    source: Source = SOURCE,
    connection: Connection = DEFAULT,
) -> int:
    """Show the steps of a pod's last ADD, and of the DEL behind it, from the log alone.

    What the commit took is told by the commit behind it, if the same engine made that.

    Parameters
    ----------
    pod
        NAMESPACE/NAME.
    interface
        Only this interface of the pod.
    """
    from ipledger.replay.trace import traced

    async with open_past(connection, source) as past:
        moment = await moment_of(past, at, "--at")
        found = await traced(past, pod, moment.position, interface)
        stands_on(moment)
    if not found:
        note(f"nothing was decided for pod {pod}" + (f" interface {interface}" * bool(interface)))
        return EXIT_FAILURE
    if output in ("table", "wide"):
        for number, one in enumerate(found):
            _print(one, output, first=number == 0)
    else:
        print_rows(found, (), output)
    return 0


def _print(traced: Traced, output: Format, *, first: bool) -> None:
    if not first:
        emit("")
    shared = traced.commit_events
    print_facts(
        {
            "Pod": traced.pod,
            "Interface": traced.interface,
            "Node": traced.node,
            "Event": traced.event,
            "Outcome": traced.reason or ", ".join(a.address for a in traced.addresses),
            "Allocation": traced.allocation,
            "Committed": f"{traced.time} at {traced.position}, "
            + (f"one of {shared} events" if shared > 1 else "alone"),
            "Trace": traced.trace_id,
            "Clocks": _clocks(traced),
        },
        output,
    )
    emit("")
    print_rows(traced.steps, _columns(traced), output)


def _clocks(traced: Traced) -> str:
    if not traced.clocks_differ_micros:
        return ""
    return f"the engine's is behind the node's by {_ms(traced.clocks_differ_micros)} or more"


def _columns(traced: Traced) -> tuple[Column, ...]:
    end = max(1, *(step.offset_micros + (step.took_micros or 0) for step in traced.steps))

    def bar(step: StepTaken) -> str:
        begin = min(round(step.offset_micros * _WIDTH / end), _WIDTH - 1)
        length = max(1, round((step.took_micros or 0) * _WIDTH / end))
        return " " * begin + "█" * min(length, _WIDTH - begin)

    return (
        field("STEP"),
        field("CLOCK"),
        Column("AFTER", _after),
        Column("TOOK", _took),
        Column("", bar),
    )


def _after(step: StepTaken) -> str:
    return _ms(step.offset_micros)


def _took(step: StepTaken) -> str:
    return "" if step.took_micros is None else _ms(step.took_micros)


def _ms(micros: int) -> str:
    return f"{micros / 1000:.3f} ms"
