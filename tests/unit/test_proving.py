"""What is probed before it is handed over: all that no pod can have, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from ipledger.cni.probe import Answered, Probe
from ipledger.cni.proving import Ask, Proving
from ipledger.engine.answers import Allocated
from ipledger.engine.client import EngineUnavailableError
from ipledger.engine.commands import Conflict
from ipledger.events.facts import Address
from ipledger.events.position import Position
from ipledger.projections.rows import AllocationRow

WEB = ("uid-web", "eth0")
MAC = "02:00:00:00:00:01"


class Link(Probe):
    """A link on which `owners` have addresses; tells what it was asked for."""

    owners: frozenset[str] = frozenset()
    asked: list[str]

    async def answered(self, interface: str, addresses: Iterable[str]) -> Answered:
        ips = [text.partition("/")[0] for text in addresses]
        self.asked += ips
        return Answered({ip: MAC for ip in ips if ip in self.owners}, {})


@pytest.fixture
def link() -> Link:
    link = Link()
    link.asked = []
    return link


def held(position: str, ip: str = "10.0.0.1", bound: str = "") -> Allocated:
    """An engine's answer; `position` is where the addresses were allocated."""
    row = AllocationRow(
        id=f"a-{ip}",
        namespace="shop",
        pod="web",
        uid=WEB[0],
        node="n1",
        sandbox="s1",
        interface=WEB[1],
        addresses=(Address("p", f"{ip}/24"),),
        since="",
        position=position,
        bound=bound,
    )
    return Allocated("99.0", row)


def answers(*given: Allocated | Exception) -> Ask:
    """An engine that answers like this, one time after the other."""
    left = iter(given)

    async def ask(conflicts: tuple[Conflict, ...]) -> Allocated:
        found = next(left)
        if isinstance(found, Exception):
            raise found
        return found

    return ask


async def add(proving: Proving, told: int, *given: Allocated | Exception) -> None:
    """An ADD of the pod, by an agent that knows of the log up to `told`."""
    await proving.proved(answers(*given), WEB, "eth1", Position(told, 0))


async def test_what_was_allocated_behind_what_the_agent_knew_is_probed(link: Link) -> None:
    await add(Proving(link), 4, held("5.0"))
    assert link.asked == ["10.0.0.1"]


async def test_what_was_there_before_and_what_is_bound_anew_is_not(link: Link) -> None:
    proving = Proving(link)
    await add(proving, 5, held("5.0"))
    await add(proving, 4, held("5.0", bound="2026-11-24T12:00:00Z"))
    assert link.asked == []


async def test_what_an_add_left_behind_whose_answer_was_lost_is_probed_when_it_comes(
    link: Link,
) -> None:
    proving = Proving(link)
    for _ in range(2):
        with pytest.raises(EngineUnavailableError):
            await add(proving, 4, EngineUnavailableError("lost"))
    await add(proving, 9, held("5.0", bound="2026-11-24T12:00:00Z"))
    assert link.asked == ["10.0.0.1"]
    await add(proving, 9, held("5.0", bound="2026-11-24T12:01:00Z"))
    assert link.asked == ["10.0.0.1"], "by now a pod has it"


async def test_a_pod_that_has_its_address_is_not_probed_when_an_answer_is_lost_later(
    link: Link,
) -> None:
    proving = Proving(link)
    await add(proving, 4, held("5.0"))
    with pytest.raises(EngineUnavailableError):
        await add(proving, 6, EngineUnavailableError("lost"))
    link.asked.clear()
    await add(proving, 9, held("5.0", bound="2026-11-24T12:00:00Z"))
    assert link.asked == []


async def test_what_a_conflict_left_behind_is_probed_though_its_answer_was_lost(
    link: Link,
) -> None:
    link.owners = frozenset({"10.0.0.1"})
    proving = Proving(link)
    with pytest.raises(EngineUnavailableError):
        await add(proving, 4, held("5.0"), EngineUnavailableError("lost"))
    await add(proving, 9, held("6.0", "10.0.0.2", bound="2026-11-24T12:00:00Z"))
    assert link.asked == ["10.0.0.1", "10.0.0.2"]


async def test_a_late_answer_does_not_probe_what_the_pods_next_sandbox_has_by_now(
    link: Link,
) -> None:
    proving, late = Proving(link), asyncio.Event()

    async def slow(conflicts: tuple[Conflict, ...]) -> Allocated:
        await late.wait()
        return held("5.0")

    first = asyncio.create_task(proving.proved(slow, WEB, "eth1", Position(4, 0)))
    await asyncio.sleep(0)
    await add(proving, 4, held("5.0", bound="2026-11-24T12:00:00Z"))
    assert link.asked == ["10.0.0.1"], "nobody was told of it before"
    late.set()
    await first
    assert link.asked == ["10.0.0.1"]
