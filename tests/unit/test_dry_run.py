"""What a dry run foretells is what then happens, and foretelling it changes nothing."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from support.deep import deep
from support.ledger import Ledger
from support.strategies import EVERYDAY, adds, pool_specs, reservation_specs
from support.text import command

from ipledger.engine.answers import Change
from ipledger.engine.commands import (
    Allocate,
    AnyApply,
    ApplyPool,
    ApplyReservation,
    DeletePool,
)
from ipledger.engine.decide import Decision
from ipledger.engine.dry_run import check
from ipledger.engine.outcomes import OUTCOMES

applies = st.one_of(
    st.builds(ApplyPool, pool=pool_specs() | st.sampled_from(EVERYDAY)),
    st.builds(ApplyReservation, reservation=reservation_specs()),
)


def applied(*texts: str) -> tuple[AnyApply, ...]:
    commands = [command(text) for text in texts]
    return tuple(c for c in commands if isinstance(c, ApplyPool | ApplyReservation))


def outcome(decision: Decision) -> str:
    event = decision.events[0] if decision.events else None
    return "" if decision.refusal else OUTCOMES[type(event)]


@settings(max_examples=200)
@given(
    st.lists(adds(), max_size=6),
    st.lists(applies, max_size=3),
    st.lists(applies, max_size=5).map(tuple),
)
def test_a_dry_run_foretells_what_applying_then_does(
    pods: list[Allocate], before: list[AnyApply], commands: tuple[AnyApply, ...]
) -> None:
    ledger = Ledger()
    ledger.do(*(ApplyPool(pool=spec) for spec in EVERYDAY[:3]), *before, *pods)
    state = ledger.head.state
    digest, inside = state.digest(), deep(state)

    forecasts = check(state, commands)

    assert (state.digest(), deep(state)) == (digest, inside), "a dry run changed the state"
    decisions = ledger.do(*commands)
    assert [(f.outcome, f.refusal) for f in forecasts] == [
        (outcome(decision), decision.refusal) for decision in decisions
    ]


def test_the_fields_that_would_change_are_told_with_their_values() -> None:
    ledger = Ledger()
    ledger.do(*applied("pool a 10.1.0.0/24 ips=10.1.0.1", "reserve r 10.1.0.1"))

    forecasts = check(
        ledger.head.state,
        applied(
            "pool a 10.1.0.0/24 ips=10.1.0.1-10.1.0.2 nodeName=n1 default",
            "reserve r 10.1.0.9",
            "reserve r 10.1.0.9",
        ),
    )

    assert [f.changes for f in forecasts] == [
        (
            Change("spec.ips", ("10.1.0.1",), ("10.1.0.1-10.1.0.2",)),
            Change("spec.default", False, True),
            Change("spec.nodeName", (), ("n1",)),
        ),
        (Change("spec.ips", ("10.1.0.1",), ("10.1.0.9",)),),
        (),
    ]


def test_each_command_is_foretold_behind_those_before_it() -> None:
    forecasts = check(
        Ledger().head.state,
        applied(
            "pool a 10.1.0.0/24 ips=10.1.0.1",
            "pool b 10.1.0.0/24 ips=10.1.0.1",
            "pool a 10.1.0.0/24 ips=10.1.0.2",
            "pool b 10.1.0.0/24 ips=10.1.0.1",
        ),
    )

    assert [f.outcome for f in forecasts] == ["created", "", "configured", "created"]


def test_a_pool_in_use_that_is_to_go_when_it_is_empty_is_terminating() -> None:
    ledger = Ledger()
    ledger.do(*applied("pool a 10.1.0.0/24 ips=10.1.0.1 default"), command("ADD web"))

    (forecast,) = check(ledger.head.state, [DeletePool(name="a", when_empty=True)])

    assert forecast.outcome == "terminating"
