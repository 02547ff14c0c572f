"""Any sequence of commands keeps the invariants (DESIGN section 12), and decide stays pure."""

from __future__ import annotations

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from support.ledger import Ledger
from support.strategies import EVERYDAY, TINY, likely

from ipledger.engine.commands import ApplyPool
from ipledger.events.facts import PoolSpec

WAITS = (1, 30_000_000, 119_999_999, 120_000_000)
"""Microseconds: within the reuse hold, just within the fence, just past it."""

MODEST = settings(
    max_examples=100,
    stateful_step_count=40,
    # A failure of a long history shrinks for minutes. To hunt one, add Phase.shrink.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)


class Realm(RuleBasedStateMachine):
    """Commits of one to six commands, and time going by. The ledger checks after each command."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.sound = True

    @initialize(pools=st.sampled_from((EVERYDAY, TINY, TINY[:2], EVERYDAY[3:])))
    def begin_with_pools(self, pools: tuple[PoolSpec, ...]) -> None:
        self.ledger.do(*(ApplyPool(pool=spec) for spec in pools))

    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        asked = data.draw(st.lists(likely(self.ledger.facts), min_size=1, max_size=6))
        self.sound = False
        self.ledger.do(*asked)
        self.sound = True

    @rule(micros=st.sampled_from(WAITS))
    def wait(self, micros: int) -> None:
        self.ledger.now += micros

    def teardown(self) -> None:
        if self.sound:  # else what went wrong is told already
            self.ledger.decide_again()
            self.ledger.end_all()


def test_any_history_keeps_the_invariants() -> None:
    """Invariants 1, 2, 3, 4, 5, 7, 8 and 9; and in the end every subnet is as free as it was."""
    run_state_machine_as_test(Realm, settings=MODEST)
