"""Who answers for others is told from who has an address."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from random import Random

import pytest

from ipledger.cni.proxies import CONTROLS, controls, proxies

ROUTER, HOST = b"\x02" * 6, b"\x04" * 6


@pytest.mark.parametrize("text", ["10.6.1.7/24", "10.6.1.7/16", "fd00::7/64", "10.6.1.7/28"])
def test_others_of_the_same_subnet_are_asked_for(text: str) -> None:
    subnet = ip_network(text, strict=False)
    own = ip_address(text.partition("/")[0])
    found = controls(own.packed, subnet.prefixlen, Random(7))
    assert len(found) == min(CONTROLS, subnet.num_addresses // 2)
    for one in map(ip_address, found):
        assert one in subnet
        assert one not in (own, subnet.network_address, subnet[-1])


@pytest.mark.parametrize("prefix", [29, 30, 31, 32])
def test_a_subnet_that_one_machine_may_have_most_of_tells_nothing(prefix: int) -> None:
    assert controls(bytes([10, 6, 1, 7]), prefix, Random(7)) == frozenset()
    assert proxies({b"x": [ROUTER]}, frozenset()) == frozenset()


@pytest.mark.parametrize(("of_router", "answers_for_all"), [(16, True), (12, True), (11, False)])
def test_who_answers_to_three_quarters_answers_for_all(
    of_router: int, answers_for_all: bool
) -> None:
    asked = [bytes([n]) for n in range(16)]
    answers = {one: [HOST, ROUTER] for one in asked[:3]}  # who has an address may be the first
    answers |= {one: [ROUTER, ROUTER] for one in asked[3:of_router]}
    assert proxies(answers, asked) == (frozenset({ROUTER}) if answers_for_all else frozenset())
