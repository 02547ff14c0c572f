"""The image of a state: nothing that it holds is forgotten, in whatever corner."""

from __future__ import annotations

import msgspec
import pytest
from support.deep import deep
from support.desk import NOON, SECOND
from support.snapshots import read, written
from support.text import command

from ipledger.engine.decide import decide
from ipledger.projections.allocations import (
    Allocation,
    Allocations,
    Common,
    HeldAddress,
    Terms,
)
from ipledger.projections.evolve import Moment, evolve
from ipledger.projections.fence import EndedAttachments
from ipledger.projections.fold import Fold
from ipledger.projections.image import BLOCK_ROWS
from ipledger.projections.name_index import NameIndex
from ipledger.projections.pool import Pool
from ipledger.projections.released import Released
from ipledger.projections.shared import Shared
from ipledger.projections.state import State

IMAGED: dict[type, set[str]] = {
    State: {
        "quarantined",
        "allocated_ever",
        "allocations",
        "applications",
        "checkpoint",
        "ended",
        "engine",
        "epoch",
        "events_ever",
        "pools",
        "position",
        "refusals",
        "reservations",
        "subnets",
    },
    Pool: {"_fresh", "_released", "spec", "taken", "terminating"},
    Released: set(),
    Allocations: {"_by_number"},
    EndedAttachments: {"_order"},
    NameIndex: set(),
    Shared: set(),
    Allocation: set(Allocation.__struct_fields__),
    Common: set(Common.__struct_fields__),
    Terms: set(Terms.__struct_fields__),
    HeldAddress: set(HeldAddress.__struct_fields__),
}
"""What the image holds."""

MADE_AGAIN: dict[type, set[str]] = {
    State: {"directory", "reserved", "shared"},
    Pool: {"held", "reserved", "reserved_free", "terms", "total", "usable"},
    Allocations: {"_keys"},
    Released: {"_by_identity", "_gaps", "_order"},
    EndedAttachments: {"_ended_at", "_newest", "_newest_at"},
    NameIndex: {"names"},
    Shared: set(),
}
"""What follows from what the image holds."""

LIVE = ("number", "pod_name", "pod_uid", "node", "sandbox", "common", "addresses")
LIVE_AT = ("sequence", "index", "since", "bound")


@pytest.mark.parametrize("kind", IMAGED)
def test_every_slot_is_in_the_image_or_made_again(kind: type) -> None:
    """Whoever adds one says here which, and then makes it so in image.py or restore.py."""
    slots: tuple[str, ...] = getattr(kind, "__struct_fields__", ()) or kind.__dict__["__slots__"]
    made_again = MADE_AGAIN.get(kind, set())
    assert set(slots) == IMAGED[kind] | made_again
    assert not IMAGED[kind] & made_again


def test_every_field_of_an_allocation_is_in_the_image() -> None:
    """`Live` has a column for each of these, in this order."""
    assert Allocation.__struct_fields__ == LIVE + LIVE_AT
    assert Terms.__struct_fields__ == ("pool", "ip_version", "prefix_length", "gateway")
    assert HeldAddress.__struct_fields__ == ("terms", "value")


def told(*texts: str) -> Fold:
    """A fold of commands, one a commit and a second apart; none is refused."""
    fold = Fold()
    for text in texts:
        now = NOON + (fold.sequence + 1) * SECOND
        decision = decide(fold.state, command(text), now)
        assert decision.refusal is None, decision.refusal
        for index, event in enumerate(decision.events):
            evolve(fold.state, event, Moment(fold.sequence + 1, index, now))
        fold.advance(fold.sequence + 1, "f" * 64, now)
    return fold


def comes_back(fold: Fold) -> Fold:
    restored = read(written(fold), fold)
    assert deep(restored.state) == deep(fold.state)
    assert restored.state.digest() == fold.state.digest()
    return restored


def test_an_empty_state_comes_back() -> None:
    comes_back(Fold())


def test_an_address_that_is_nobodys_last_is_so_again() -> None:
    """p1 had two addresses, and somebody else has the later one: the earlier is not its last."""
    fold = told(
        "pool a 10.0.0.0/24 ips=10.0.0.1-10.0.0.9 default",
        "ADD p1 @static-ip=10.0.0.5",
        "DEL p1-sandbox",
        "ADD p1 sandbox=second @static-ip=10.0.0.7",
        "DEL second",
        "ADD p2 @static-ip=10.0.0.7",
    )
    pool = comes_back(fold).state.pools["a"]
    assert pool.choose(("p1-uid", "eth0")) == fold.state.pools["a"].choose(("p1-uid", "eth0"))


def test_terms_that_a_pool_has_given_up_stay_with_their_addresses() -> None:
    fold = told(
        "pool a 10.0.0.0/24 ips=10.0.0.2-10.0.0.9 gateway=10.0.0.1 default",
        "ADD p1",
        "pool a 10.0.0.0/24 ips=10.0.0.2-10.0.0.9 gateway=10.0.0.254 default",
        "ADD p2",
    )
    gateways = [a.addresses[0].fact().gateway for a in comes_back(fold).state.allocations.all()]
    assert gateways == ["10.0.0.1", "10.0.0.254"]


def test_interfaces_of_one_pod_stay_in_order_when_an_older_one_is_rebound() -> None:
    fold = told(
        "pool a 10.0.0.0/24 ips=10.0.0.2-10.0.0.9 default",
        "ADD p1 if=eth0",
        "ADD p1 if=net1",
        "ADD p1 if=net2",
        "ADD p1 if=net1 sandbox=second",
        "ADD p1 if=eth0 sandbox=second",
    )
    restored = comes_back(fold)
    interfaces = [a.interface for a in restored.state.allocations.of_pod("p1-uid")]
    assert interfaces == ["eth0", "net1", "net2"]


def test_more_rows_than_a_block_holds_come_back() -> None:
    pods = [f"p{number}" for number in range(BLOCK_ROWS + 7)]
    fold = told(
        "pool a 10.0.0.0/16 ips=10.0.1.0-10.0.20.0 default",
        "pool six fd00::/64 ips=fd00::1-fd00::ffff default",
        *(f"ADD {pod}" for pod in pods),
        *(f"DEL {pod}-sandbox" for pod in pods[:-3]),
        *(f"ADD {pod} sandbox={pod}-second" for pod in pods[5:]),
    )
    comes_back(fold)


def test_the_same_state_has_the_same_bytes() -> None:
    fold = told("pool a 10.0.0.0/24 ips=10.0.0.2-10.0.0.9 default", "ADD p1", "ADD p2")
    assert written(read(written(fold), fold)) == written(fold)


def test_an_integer_of_a_block_is_never_cut() -> None:
    """MessagePack ends at 64 bits; an address of the last /64 does not."""
    last = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff0"
    fold = told(f"pool six ffff::/16 ips={last} default", "ADD p1")
    held = comes_back(fold).state.allocations.of_pod("p1-uid")[0]
    assert held.addresses[0].ip == last
    assert msgspec.structs.asdict(held)["addresses"][0].value.bit_length() == 128
