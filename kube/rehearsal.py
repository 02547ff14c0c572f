"""A plan played through with the engine's own `decide`, on a state that is thrown away (ADR 65)."""

from __future__ import annotations

import msgspec

from ipledger.engine.commands import AnyCommand
from ipledger.engine.decide import decide
from ipledger.engine.outcomes import OUTCOMES
from ipledger.engine.refusals import Refusal
from ipledger.events.types import AllocationImported
from ipledger.kube.disagreements import Contradiction
from ipledger.kube.takeover import Plan
from ipledger.projections.evolve import Moment, evolve
from ipledger.projections.fold import Fold

_IMPORTED = "imported"
_HELD = "held"


class Step(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What becomes of one thing: created, configured, imported, held or unchanged."""

    kind: str
    name: str
    outcome: str
    addresses: tuple[str, ...] = ()
    dry_run: bool = False


def rehearse(fold: Fold, plan: Plan) -> tuple[list[Step], list[Contradiction]]:
    """What every command of a plan would do, and what the engine would refuse.

    `fold` is spoilt by it: its state becomes what it would be.
    """
    steps: list[Step] = []
    refused: list[Contradiction] = []
    for resource in plan.resources:
        outcome = _play(fold, resource.command)
        if isinstance(outcome, Refusal):
            about = f"{resource.kind} {resource.name}"
            refused.append(Contradiction(about, "Spiderpool has it", outcome.message))
        else:
            steps.append(Step(resource.kind, resource.name, outcome))
    for allocation in plan.allocations:
        outcome = _play(fold, allocation)
        addresses = tuple(address.address for address in allocation.addresses)
        if isinstance(outcome, Refusal):
            one = f"{allocation.interface} has {', '.join(addresses)}"
            refused.append(Contradiction(allocation.source, one, outcome.message))
        else:
            name = f"{allocation.pod} {allocation.interface}"
            steps.append(Step("Allocation", name, outcome, addresses))
    return steps, refused


def _play(fold: Fold, command: AnyCommand) -> str | Refusal:
    """Decide a command and make its events true."""
    events, refusal = decide(fold.state, command, fold.time)
    if refusal is not None:
        return refusal
    for index, event in enumerate(events):
        evolve(fold.state, event, Moment(fold.sequence + 1, index, fold.time))
    first = events[0] if events else None
    if isinstance(first, AllocationImported):
        return _IMPORTED if first.sandbox else _HELD
    return OUTCOMES[type(first)]
