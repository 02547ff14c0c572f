"""What `diff` tells of quarantines."""

from __future__ import annotations

from support.desk import Desk, serving
from support.text import command

from ipledger.replay.difference import Difference, differences, picture

POOL = command("pool a 10.0.0.0/24 ips=10.0.0.1-10.0.0.9 default")


def told(found: list[Difference]) -> dict[tuple[str, str], tuple[str, dict[str, object]]]:
    """By kind and name what became of it, with its fields behind that."""
    return {
        (one.kind, one.name): (one.change, {c.field: c.after for c in one.changes}) for one in found
    }


async def test_an_address_that_was_quarantined_is_a_difference_and_so_is_its_return() -> None:
    desk = Desk()
    async with serving(desk):
        await desk.ask(POOL)
        before = picture(desk.fold.state)
        await desk.ask(command("quarantine 10.0.0.1 mac=02:00:00:00:00:01 evidence=printer"))
        meanwhile = picture(desk.fold.state)
        await desk.ask(command("restore 10.0.0.1"))
        after = picture(desk.fold.state)

    found = told(list(differences(before, meanwhile)))
    change, fields = found["quarantine", "10.0.0.1"]
    assert change == "added"
    assert (fields["pool"], fields["mac"]) == ("a", "02:00:00:00:00:01")
    assert fields["evidence"] == "printer"
    assert found["pool", "a"] == ("changed", {"free": 8, "quarantined": 1})
    back = told(list(differences(meanwhile, after)))
    assert back["quarantine", "10.0.0.1"][0] == "removed"
    assert list(differences(before, after)) == []


async def test_a_conflict_is_a_quarantine_and_another_allocation() -> None:
    desk = Desk()
    async with serving(desk):
        await desk.ask(POOL)
        await desk.ask(command("ADD web"))
        before = picture(desk.fold.state)
        await desk.ask(command("ADD web conflict=10.0.0.1"))
        found = told(list(differences(before, picture(desk.fold.state))))
    assert [(key, change) for key, (change, _) in found.items() if key[0] != "pool"] == [
        (("allocation", "a1"), "removed"),
        (("quarantine", "10.0.0.1"), "added"),
        (("allocation", "a2"), "added"),
    ]
