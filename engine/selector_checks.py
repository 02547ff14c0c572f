"""The checks on the label selectors of a pool."""

from __future__ import annotations

from collections.abc import Iterator

from ipledger.engine.refusals import Refusal, invalid
from ipledger.engine.selectors import OPERATORS
from ipledger.events.facts import PoolSpec, Requirement, Selector

_WITH_VALUES = ("In", "NotIn")


def selector_faults(spec: PoolSpec) -> Iterator[Refusal]:
    """What is wrong with the affinities of a pool.

    An empty `podAffinity` is refused as in Spiderpool; the other two then match everything.
    """
    if spec.pod_affinity == Selector():
        what = "is empty and would match every pod: leave it out, or name labels"
        yield invalid("spec.podAffinity", {}, what)
    affinities = {
        "spec.podAffinity": spec.pod_affinity,
        "spec.namespaceAffinity": spec.namespace_affinity,
        "spec.nodeAffinity": spec.node_affinity,
    }
    for field, selector in affinities.items():
        for index, requirement in enumerate(selector.match_expressions if selector else ()):
            yield from _requirement_faults(f"{field}.matchExpressions[{index}]", requirement)


def _requirement_faults(field: str, requirement: Requirement) -> Iterator[Refusal]:
    operator, values = requirement.operator, requirement.values
    if not requirement.key:
        yield invalid(f"{field}.key", requirement.key, "is not a label's name")
    if operator not in OPERATORS:
        yield invalid(f"{field}.operator", operator, f"is not one of {', '.join(OPERATORS)}")
    elif operator in _WITH_VALUES and not values:
        yield invalid(f"{field}.values", [], f"is empty: operator {operator} needs values")
    elif operator not in _WITH_VALUES and values:
        what = f"must be left out: operator {operator} takes no values"
        yield invalid(f"{field}.values", list(values), what)
