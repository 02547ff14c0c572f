"""Which refusal is given depends on what there is, not on the order in which it came."""

from __future__ import annotations

from itertools import permutations

from support.ledger import Ledger
from support.text import command


def test_of_several_pools_in_the_way_the_same_is_named_whichever_came_first() -> None:
    pools = ("pool a 10.1.2.0/24", "pool b 10.1.1.0/24", "pool c 10.1.3.0/24")
    messages: set[str] = set()
    for order in permutations(pools):
        ledger = Ledger()
        *_, last = ledger.do(*map(command, order), command("pool wide 10.1.0.0/16"))
        assert last.refusal is not None
        messages.add(last.refusal.message)
    assert messages == {
        "spec.subnet: '10.1.0.0/16' overlaps with pool 'b', whose subnet is 10.1.1.0/24"
    }
