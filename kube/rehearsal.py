"""A plan played through with the engine's own `decide`, on a state that is thrown away (ADR 65)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from ipledger.engine.commands import AnyCommand, ImportAllocation
from ipledger.engine.decide import decide
from ipledger.engine.outcomes import OUTCOMES
from ipledger.engine.refusals import Refusal
from ipledger.events.types import AllocationImported
from ipledger.kube.disagreements import Contradiction
from ipledger.kube.takeover import Plan
from ipledger.projections.cluster import kinds
from ipledger.projections.evolve import Moment, evolve
from ipledger.projections.fold import Fold

_IMPORTED = "imported"
_HELD = "held"
_POOL = f"{kinds.POOLS.name} "


class Step(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What becomes of one thing: created, configured, imported, held or unchanged."""

    kind: str
    name: str
    outcome: str
    addresses: tuple[str, ...] = ()
    dry_run: bool = False


def rehearse(fold: Fold, plan: Plan) -> tuple[list[Step], list[Contradiction]]:
    """What every command of a plan would do, and all that stands against it: what contradicts
    itself, and what the engine would refuse. A pool that cannot be taken over is told of once, with
    the number of allocations in it.

    `fold` is spoilt by it: its state becomes what it would be.
    """
    steps: list[Step] = []
    against = [*plan.contradictions, *_play_resources(fold, plan, steps)]
    turned_down = {c.about.removeprefix(_POOL) for c in against if c.about.startswith(_POOL)}
    left_out: Counter[str] = Counter()
    for allocation in plan.allocations:
        pools = {address.pool for address in allocation.addresses}
        without = pools & turned_down | pools - fold.state.pools.keys()
        left_out.update(without)
        if not without:
            against.extend(_play_allocation(fold, allocation, steps))
    return steps, list(_counted(against, left_out))


def _play_resources(fold: Fold, plan: Plan, steps: list[Step]) -> Iterator[Contradiction]:
    for resource in plan.resources:
        outcome = _play(fold, resource.command)
        if isinstance(outcome, Refusal):
            about = f"{resource.kind} {resource.name}"
            yield Contradiction(about, "Spiderpool has it", outcome.message)
        else:
            steps.append(Step(resource.kind, resource.name, outcome))


def _play_allocation(
    fold: Fold, allocation: ImportAllocation, steps: list[Step]
) -> Iterator[Contradiction]:
    outcome = _play(fold, allocation)
    addresses = tuple(address.address for address in allocation.addresses)
    if isinstance(outcome, Refusal):
        one = f"{allocation.interface} has {', '.join(addresses)}"
        yield Contradiction(allocation.source, one, outcome.message)
    else:
        name = f"{allocation.pod} {allocation.interface}"
        steps.append(Step("Allocation", name, outcome, addresses))


def _counted(found: list[Contradiction], left_out: Counter[str]) -> Iterator[Contradiction]:
    """The same, with the allocations of pools that are not taken over."""
    left = {_POOL + pool: count for pool, count in left_out.items()}
    for one in found:
        count = left.pop(one.about, 0)
        told = f"{one.one}, with {count} allocations" if count else one.one
        yield msgspec.structs.replace(one, one=told)
    for about, count in left.items():
        yield Contradiction(about, f"{count} allocations are in it", "there is no such pool")


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
