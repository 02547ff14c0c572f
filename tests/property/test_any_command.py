"""Whatever can be decoded as a command is decided: nothing raises, and what is accepted is sound.

An exception in `decide` would end the commit loop for everybody.
"""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ledger import Ledger
from support.strategies import EVERYDAY

from ipledger.engine.commands import Allocate, AnyCommand, ApplyPool, ApplyReservation, Release
from ipledger.events.facts import Pod, PoolSpec, Requirement, ReservationSpec, Route, Selector

_ADDRESSES = (
    "10.0.0.0",
    "10.0.0.5",
    "0.0.0.0",
    "255.255.255.255",
    "fd00::",
    "::",
    "::ffff:1.2.3.4",
)
_LENGTHS = ("/24", "/0", "/32", "/128", "/33", "/-1", "/٣", "/")
_REST = (*"-,:.aAé0 \0\n\u2028", "1e3", "0x10", "%eth0", "9" * 30)
_PIECES = (*_ADDRESSES, *_LENGTHS, *_REST)

texts = st.lists(st.sampled_from(_PIECES), max_size=4).map("".join) | st.text(
    st.characters(codec="utf-8"), max_size=8
)
subnets = st.sampled_from(("10.0.0.0/24", "0.0.0.0/0", "::/0", "fd00::/64", "10.0.0.5/32")) | texts
addresses = st.sampled_from(("10.0.0.1", "10.0.0.1-10.0.0.4", "fd00::1", "0.0.0.0", "::")) | texts
selectors = st.none() | st.builds(
    Selector,
    match_labels=st.dictionaries(texts, texts, max_size=1),
    match_expressions=st.lists(
        st.builds(
            Requirement,
            texts,
            st.sampled_from(("In", "NotIn", "Exists", "DoesNotExist")) | texts,
            st.lists(texts, max_size=2).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
)
specs = st.builds(
    PoolSpec,
    st.sampled_from(("a", "x.y", "")) | texts,
    st.sampled_from((0, 4, 6)) | st.integers(-(2**63), 2**63 - 1),
    subnets,
    ips=st.lists(addresses, max_size=3).map(tuple),
    exclude_ips=st.lists(addresses, max_size=2).map(tuple),
    gateway=st.just("") | addresses,
    routes=st.lists(st.builds(Route, subnets, addresses), max_size=2).map(tuple),
    default=st.booleans(),
    pod_affinity=selectors,
    node_affinity=selectors,
)
reservations = st.builds(
    ReservationSpec,
    st.sampled_from(("r", "x.y")) | texts,
    st.sampled_from((0, 4, 6)) | st.integers(-(2**63), 2**63 - 1),
    st.lists(addresses, max_size=3).map(tuple),
)


def as_received(command: AnyCommand) -> AnyCommand | None:
    """The command as the service would decode it, or None where that refuses it."""
    try:
        return msgspec.json.decode(msgspec.json.encode(command), type=type(command))
    except msgspec.ValidationError:
        return None


def decided(*commands: AnyCommand) -> None:
    """Decide and commit what can be received, with all checks of the ledger."""
    ledger = Ledger()
    ledger.do(*(ApplyPool(pool=spec) for spec in EVERYDAY[:2]))
    received = [command for command in map(as_received, commands) if command is not None]
    ledger.do(*received)
    ledger.decide_again()


@settings(max_examples=500)
@given(specs, specs)
def test_any_pool_is_accepted_or_refused(first: PoolSpec, second: PoolSpec) -> None:
    decided(ApplyPool(pool=first), ApplyPool(pool=second))


@given(reservations, reservations)
def test_any_reservation_is_accepted_or_refused(
    first: ReservationSpec, second: ReservationSpec
) -> None:
    add = Allocate(pod=Pod("ns", "p", "p"), sandbox="s", interface="eth0", node="n1")
    decided(ApplyReservation(reservation=first), ApplyReservation(reservation=second), add)


@given(texts, texts, texts, texts, st.lists(texts, max_size=2).map(tuple))
def test_any_add_and_del_is_accepted_or_refused(
    pod: str, sandbox: str, interface: str, node: str, pools: tuple[str, ...]
) -> None:
    add = Allocate(
        pod=Pod(pod, pod, pod),
        sandbox=sandbox,
        interface=interface,
        node=node,
        default_ipv4_pools=pools,
        default_ipv6_pools=pools,
    )
    decided(add, Release(sandbox=sandbox, interface=interface, node=node))
