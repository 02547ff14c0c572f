"""Kubernetes label selectors (apimachinery, LabelSelector): whether labels match."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ipledger.events.facts import Requirement, Selector

_Labels = Mapping[str, str]

OPERATORS: dict[str, Callable[[Requirement, _Labels], bool]] = {
    "In": lambda want, labels: labels.get(want.key) in want.values,
    "NotIn": lambda want, labels: labels.get(want.key) not in want.values,
    "Exists": lambda want, labels: want.key in labels,
    "DoesNotExist": lambda want, labels: want.key not in labels,
}
"""Each operator of a requirement. A missing key satisfies NotIn."""


def matches(selector: Selector, labels: _Labels) -> bool:
    """Whether every label and every expression of the selector matches. An empty one does."""
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        OPERATORS[want.operator](want, labels) for want in selector.match_expressions
    )
