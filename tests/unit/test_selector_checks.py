"""Affinities that a pool may not have are refused, with the field and its value."""

from __future__ import annotations

import msgspec
import pytest
from support.text import pool_spec

from ipledger.engine.pool_checks import checked
from ipledger.engine.refusals import Reason, Refusal
from ipledger.events.facts import PoolSpec, Requirement, Selector

POOL = pool_spec("a 10.1.0.0/24 version=4 ips=10.1.0.1")
AFFINITIES = {
    "spec.podAffinity": "pod_affinity",
    "spec.namespaceAffinity": "namespace_affinity",
    "spec.nodeAffinity": "node_affinity",
}


def with_affinity(field: str, selector: Selector) -> PoolSpec:
    return msgspec.structs.replace(POOL, **{AFFINITIES[field]: selector})


def expressing(*requirements: Requirement) -> Selector:
    return Selector(match_expressions=requirements)


@pytest.mark.parametrize("field", AFFINITIES)
def test_each_operator_is_accepted(field: str) -> None:
    spec = with_affinity(
        field,
        expressing(
            Requirement("a", "In", ("x",)),
            Requirement("b", "NotIn", ("x", "y")),
            Requirement("c", "Exists"),
            Requirement("d", "DoesNotExist"),
        ),
    )
    assert checked(spec) == spec


@pytest.mark.parametrize("field", AFFINITIES)
@pytest.mark.parametrize(
    ("requirement", "at", "value"),
    [
        (Requirement("a", "Equals", ("x",)), "operator", "Equals"),
        (Requirement("a", "in", ("x",)), "operator", "in"),
        (Requirement("a", ""), "operator", ""),
        (Requirement("a", "In"), "values", "[]"),
        (Requirement("a", "NotIn"), "values", "[]"),
        (Requirement("a", "Exists", ("x",)), "values", "['x']"),
        (Requirement("a", "DoesNotExist", ("x",)), "values", "['x']"),
        (Requirement("", "Exists"), "key", ""),
    ],
)
def test_a_requirement_that_is_none_is_refused(
    field: str, requirement: Requirement, at: str, value: str
) -> None:
    good = Requirement("good", "Exists")

    refusal = checked(with_affinity(field, expressing(good, requirement)))

    assert isinstance(refusal, Refusal)
    assert refusal.reason == Reason.INVALID_FIELD
    assert (refusal.field, refusal.value) == (f"{field}.matchExpressions[1].{at}", value)
    assert refusal.message.startswith(f"{refusal.field}: ")
    assert value in refusal.message


def test_an_empty_pod_affinity_is_refused() -> None:
    """Spiderpool: "empty podAffinity is invalid for SpiderIPPool"."""
    refusal = checked(with_affinity("spec.podAffinity", Selector()))
    assert isinstance(refusal, Refusal)
    assert (refusal.field, refusal.value) == ("spec.podAffinity", "{}")


@pytest.mark.parametrize("field", ["spec.namespaceAffinity", "spec.nodeAffinity"])
def test_any_other_affinity_may_be_empty(field: str) -> None:
    spec = with_affinity(field, Selector())
    assert checked(spec) == spec
