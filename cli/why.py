"""`ipledger why`: each pool's verdict for a pod."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipledger.cli.connection import DEFAULT, Connection
from ipledger.cli.errors import EXIT_DIFFERENCE, EXIT_FAILURE
from ipledger.cli.output import Format, Output, emit, note, print_facts, print_rows
from ipledger.cli.past import SOURCE, At, Source, moment_of, open_past, stands_on
from ipledger.cli.views import VERDICT_COLUMNS

if TYPE_CHECKING:
    from ipledger.replay.why import Explanation


async def why(
    pod: str,
    /,
    *,
    at: At = "",
    output: Output = "table",
    source: Source = SOURCE,
    connection: Connection = DEFAULT,
) -> int:
    """Show why a pod has its addresses, or none: each pool's verdict, decided again and compared.

    Exit code 3 if a decision does not follow from the state before it.

    Parameters
    ----------
    pod
        NAMESPACE/NAME.
    """
    from ipledger.replay.why import explain

    async with open_past(connection, source) as past:
        moment = await moment_of(past, at, "--at")
        found = await explain(past, pod, moment.position)
        stands_on(moment)
    if not found:
        note(f"nothing was decided for pod {pod}")
        return EXIT_FAILURE
    if output in ("table", "wide"):
        for number, explanation in enumerate(found):
            _print(explanation, output, first=number == 0)
    else:
        print_rows(found, (), output)
    return 0 if all(explanation.agrees for explanation in found) else EXIT_DIFFERENCE


def _print(explanation: Explanation, output: Format, *, first: bool) -> None:
    if not first:
        emit("")
    outcome = explanation.reason or ", ".join(a.address for a in explanation.addresses)
    print_facts(
        {
            "Pod": explanation.pod,
            "Interface": explanation.interface,
            "Node": explanation.node,
            "Decided": f"{explanation.time} at {explanation.position}",
            "From the state at": explanation.basis,
            "Outcome": outcome,
            "Allocation": explanation.allocation,
            "Message": explanation.message,
        },
        output,
    )
    if explanation.candidates:
        emit("")
        print_rows(explanation.candidates, VERDICT_COLUMNS, output)
