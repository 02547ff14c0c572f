"""Who may make a pod writes its annotations: none keeps the engine from the others for long."""

from __future__ import annotations

import json

import pytest
from support.desk import Desk, serving
from support.text import command

from ipledger.engine.answers import Refused
from ipledger.engine.commands import Allocate
from ipledger.events.facts import Pod

ROUTE = {"dst": "10.9.0.0/16", "gw": "10.1.0.1"}


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("ippool", {"ipv4": [f"p{n}*" for n in range(101)]}, "names 101 pools, more than 100"),
        ("ippool", {"ipv4": [f"p{n}*" for n in range(11)]}, "has 11 wildcards, more than 10"),
        ("ippool", {"ipv4": ["*" * 254]}, "more than 253 characters"),
        (
            "ippools",
            [{"interface": "eth0", "ipv4": [f"p{n}*" for n in range(101)]}],
            "names 101 pools, more than 100",
        ),
        ("routes", [ROUTE] * 257, "has 257 routes, more than 256"),
    ],
)
async def test_what_would_take_long_is_refused(key: str, value: object, told: str) -> None:
    async with serving(Desk()) as desk:
        await desk.ask(command("pool a 10.1.0.0/24 ips=10.1.0.10 default"))
        add = Allocate(
            pod=Pod("ns", "p", "u"),
            sandbox="s1",
            interface="eth0",
            annotations={f"ipam.spidernet.io/{key}": json.dumps(value)},
        )
        refused = await desk.ask(add)
    assert isinstance(refused, Refused)
    assert told in refused.refusal.message


async def test_as_many_as_may_be_are_served() -> None:
    names = [*(f"p{n}*" for n in range(9)), "a*"]
    asked = {"ippool": {"ipv4": names}, "routes": [ROUTE] * 256}
    async with serving(Desk()) as desk:
        await desk.ask(command("pool a 10.1.0.0/24 ips=10.1.0.10 default"))
        annotations = {
            f"ipam.spidernet.io/{key}": json.dumps(value) for key, value in asked.items()
        }
        add = Allocate(
            pod=Pod("ns", "p", "u"), sandbox="s1", interface="eth0", annotations=annotations
        )
        assert not isinstance(await desk.ask(add), Refused)
