"""What a command may hold: the bounds that hold where it is decoded."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from ipledger.engine.commands import Allocate
from ipledger.engine.decide import decide as decide_command
from ipledger.engine.refusals import Reason
from ipledger.events.facts import Pod
from ipledger.projections.state import State

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
GOOD: dict[str, Any] = {
    "pod": {"namespace": "ns", "name": "p1", "uid": "u1"},
    "sandbox": "s1",
    "interface": "eth0",
}


def decode(**changed: object) -> Allocate:
    return msgspec.json.decode(json.dumps(GOOD | changed), type=Allocate)


def test_a_command_needs_no_more_than_pod_sandbox_and_interface() -> None:
    assert decode().sandbox == "s1"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sandbox", "a" * 128),
        ("sandbox", "4d-f_0.9"),
        ("interface", "a" * 15),
        ("interface", "eth0.100"),
        ("traceparent", ""),
        ("traceparent", TRACEPARENT),
        ("defaultIPv4Pools", ["a", "b"]),
    ],
)
def test_a_value_within_its_bounds_is_taken(field: str, value: object) -> None:
    decode(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sandbox", ""),
        ("sandbox", "-a"),
        ("sandbox", "a/b"),
        ("sandbox", "a" * 129),
        ("interface", ""),
        ("interface", "."),
        ("interface", ".."),
        ("interface", "a" * 16),
        ("interface", "a/b"),
        ("interface", "a b"),
        ("interface", "a:b"),
        ("network", "a" * 1025),
        ("traceparent", "00-1-2-3"),
        ("traceparent", TRACEPARENT + "a" * 1024),
        ("defaultIPv4Pools", [""]),
        ("defaultIPv6Pools", ["a" * 254]),
        ("asked", "now"),
    ],
)
def test_a_value_out_of_its_bounds_is_refused_and_its_field_named(
    field: str, value: object
) -> None:
    with pytest.raises(msgspec.ValidationError, match=field):
        decode(**{field: value})


def test_an_unknown_field_is_refused_and_named() -> None:
    with pytest.raises(msgspec.ValidationError, match="sandboks"):
        decode(sandboks="s1")


def test_an_add_without_a_pod_uid_is_refused() -> None:
    command = Allocate(pod=Pod("shop", "cart", ""), sandbox="s1", interface="eth0", node="n1")
    refusal = decide_command(State(), command, 0).refusal
    assert refusal is not None
    assert (refusal.reason, refusal.field) == (Reason.BAD_REQUEST, "pod.uid")
