"""Unknown fields are found wherever a command or query may have one."""

from __future__ import annotations

import msgspec
import pytest

from ipledger.engine import queries
from ipledger.engine.commands import Allocate, ApplyPool, ImportAllocation
from ipledger.engine.strict import check_known
from ipledger.events.facts import Owner, Pod, PoolSpec, Requirement, Selector

POD = Pod("shop", "web-1", "uid-1")
SELECTOR = Selector({"app": "web"}, (Requirement("tier", "In", ("a",)),))
POOL = PoolSpec("p", 4, "10.0.0.0/24", pod_affinity=SELECTOR)
ALLOCATE = Allocate(
    pod=POD,
    sandbox="s1",
    interface="eth0",
    owner=Owner("apps/v1", "Deployment", "web"),
    labels={"anything": "goes"},
)


@pytest.mark.parametrize(
    "command",
    [ALLOCATE, ApplyPool(pool=POOL), queries.Check(commands=(ApplyPool(pool=POOL),))],
)
def test_what_a_client_sends_is_known(command: msgspec.Struct) -> None:
    check_known(type(command), msgspec.json.encode(command))


@pytest.mark.parametrize(
    ("type_", "payload", "named"),
    [
        (Allocate, b'{"pod":{"extra":1}}', "`extra` - at `$.pod`"),
        (Allocate, b'{"owner":{"extra":1}}', "`extra` - at `$.owner`"),
        (ApplyPool, b'{"pool":{"podAffinity":{"x":1}}}', "`x` - at `$.pool.podAffinity`"),
        (
            ApplyPool,
            b'{"pool":{"podAffinity":{"matchExpressions":[{"key":"a"},{"y":1}]}}}',
            "`y` - at `$.pool.podAffinity.matchExpressions[1]`",
        ),
        (ImportAllocation, b'{"addresses":[{"z":1}]}', "`z` - at `$.addresses[0]`"),
        (
            queries.Check,
            b'{"commands":[{"type":"ApplyPool","pool":{"w":1}}]}',
            "`w` - at `$.commands[0].pool`",
        ),
    ],
)
def test_an_unknown_field_is_named_with_its_place(
    type_: type[msgspec.Struct], payload: bytes, named: str
) -> None:
    with pytest.raises(msgspec.ValidationError) as error:
        check_known(type_, payload)
    assert named in str(error.value)


def test_a_command_says_only_what_is_asked_for() -> None:
    """An older engine refuses a field that it does not know only where it is used (ADR 92)."""
    sent = msgspec.json.decode(msgspec.json.encode(Allocate(pod=POD, sandbox="s", interface="i")))
    assert set(sent) == {"pod", "sandbox", "interface"}
