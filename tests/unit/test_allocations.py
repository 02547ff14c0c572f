"""Live allocations by each of their keys."""

from __future__ import annotations

import pytest

from ipledger.projections.allocations import Allocation, Allocations, Common
from ipledger.projections.shared import SHARED_MAX, Shared


def allocation(number: int, uid: str, sandbox: str, interface: str = "eth0") -> Allocation:
    common = Common("ns", None, interface, "", -1, ())
    return Allocation(number, f"pod-{uid}", uid, "n1", sandbox, common, (), 1, 0, 0, 0)


@pytest.fixture
def live() -> Allocations:
    """Two interfaces of pod u1, one of u2."""
    live = Allocations()
    for one in (
        allocation(1, "u1", "s1"),
        allocation(2, "u2", "s2"),
        allocation(3, "u1", "s1", "net1"),
    ):
        live.add(one)
    return live


def numbers(live: Allocations, uid: str) -> list[int]:
    return [found.number for found in live.of_pod(uid)]


@pytest.mark.parametrize(
    "text", ["", "a", "1", "b1", "a01", "a1 ", "a+1", "a1_0", "a-1", "ä1", "a9"]
)
def test_a_text_that_is_no_id_of_a_live_one_finds_nothing(live: Allocations, text: str) -> None:
    assert live.get(text) is None


def test_an_id_finds_its_allocation(live: Allocations) -> None:
    found = live.get("a2")
    assert found is not None
    assert (found.id, found.pod.uid) == ("a2", "u2")


def test_each_interface_is_found_by_pod_and_by_sandbox(live: Allocations) -> None:
    for interface, number in (("eth0", 1), ("net1", 3)):
        by_pod, by_sandbox = live.of(("u1", interface)), live.at(("s1", interface))
        assert by_pod is not None
        assert by_pod is by_sandbox
        assert by_pod.number == number
    assert live.of(("u1", "net2")) is None
    assert live.at(("s2", "net1")) is None
    assert live.of_pod("u9") == ()


@pytest.mark.parametrize(("removed", "left"), [("a1", [3]), ("a3", [1])])
def test_one_interface_less_leaves_the_other(
    live: Allocations, removed: str, left: list[int]
) -> None:
    live.remove(removed)
    assert numbers(live, "u1") == left
    assert len(live) == 2


def test_the_last_interface_less_leaves_nothing(live: Allocations) -> None:
    live.remove("a1")
    live.remove("a3")
    assert live.of_pod("u1") == ()
    assert live.at(("s1", "eth0")) is None


def test_a_changed_allocation_keeps_its_place_in_the_order(live: Allocations) -> None:
    live.move("a1", "s9", 0)
    assert [found.number for found in live.all()] == [1, 2, 3]
    assert numbers(live, "u1") == [1, 3]
    assert live.at(("s1", "eth0")) is None
    assert live.at(("s1", "net1")) is not None
    assert live.at(("s9", "eth0")) is not None


def test_values_are_shared_up_to_a_limit() -> None:
    shared = Shared()
    first = "node-" + str(1)
    assert shared[first] is first
    assert shared["node-" + str(1)] is first
    for number in range(SHARED_MAX):
        shared[f"other-{number}"]
    again = "node-" + str(1)
    assert shared[again] is again, "the first one was let go"


def test_an_identity_that_holds_twice_is_found_when_one_is_asked_for_first() -> None:
    live = Allocations()
    live.add(allocation(1, "u1", "s1"))
    live.add(allocation(2, "u1", "s2"))
    with pytest.raises(AssertionError, match="invariant 8"):
        live.of_pod("u1")


def test_an_identity_that_would_hold_twice_is_found_at_once_from_then_on() -> None:
    live = Allocations()
    live.add(allocation(1, "u1", "s1"))
    assert numbers(live, "u1") == [1]
    with pytest.raises(AssertionError, match="invariant 8"):
        live.add(allocation(2, "u1", "s2"))


def test_a_number_is_given_once() -> None:
    live = Allocations()
    live.add(allocation(1, "u1", "s1"))
    with pytest.raises(AssertionError, match="given once"):
        live.add(allocation(1, "u1", "s2"))
