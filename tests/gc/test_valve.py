"""The safety valve: how many frees are believed, at once and one after another."""

from __future__ import annotations

import pytest
from support.desk import NOON, SECOND

from ipledger.events.facts import Pod
from ipledger.gc.claims import Claim
from ipledger.gc.settings import Settings
from ipledger.gc.valve import Valve

WINDOW = 600 * SECOND


def claims(count: int, first: int = 0) -> list[Claim]:
    pods = [Pod("ns", f"web-{number}", f"uid-{number}") for number in range(first, first + count)]
    return [
        Claim(f"a-{pod.name}", pod, "n1", "s1", "eth0", None, NOON, ("10.0.0.1",)) for pod in pods
    ]


@pytest.mark.parametrize(
    ("zombies", "total", "passes"),
    [(0, 0, True), (10, 12, True), (11, 12, False), (20, 100, True), (21, 100, False)],
)
def test_few_pass_and_a_small_share_passes(zombies: int, total: int, passes: bool) -> None:
    admitted = Valve(Settings()).admit(claims(zombies), total, 5, NOON)
    assert len(admitted.now) == (zombies if passes else 0)
    assert len(admitted.withheld) == (0 if passes else zombies)
    assert bool(admitted.why) is not passes


def test_what_was_freed_lately_counts() -> None:
    valve = Valve(Settings())
    for number, claim in enumerate(claims(10)):
        valve.freed(claim.allocation, NOON + number)
    assert valve.admit(claims(1, 10), 20, 5, NOON + WINDOW - 1).now == []
    assert len(valve.admit(claims(1, 20), 20, 5, NOON + WINDOW).now) == 1


def test_a_second_look_late_enough_passes_and_what_is_new_waits() -> None:
    valve = Valve(Settings())
    first = claims(11)
    assert valve.admit(first, 12, 5, NOON).now == []
    assert valve.admit(first, 12, 5, NOON + WINDOW - 1).now == []
    both = valve.admit([*first, *claims(11, 11)], 24, 5, NOON + WINDOW)
    assert both.now == first
    assert both.withheld == claims(11, 11)


def test_what_was_no_zombie_in_between_is_looked_at_as_if_for_the_first_time() -> None:
    valve = Valve(Settings())
    zombies = claims(22)
    valve.admit(zombies, 30, 5, NOON)
    valve.forget_others(zombies[:5])
    later = valve.admit(zombies, 30, 5, NOON + WINDOW)
    assert (later.now, later.withheld) == (zombies[:5], zombies[5:])


def test_an_api_server_without_pods_is_never_believed_but_by_who_is_sure() -> None:
    valve = Valve(Settings())
    one = claims(1)
    assert valve.admit(one, 1, 0, NOON).withheld == one
    assert valve.admit(one, 1, 0, NOON + 2 * WINDOW).withheld == one
    assert valve.admit(one, 1, 0, NOON, sure=True).now == one
