"""Given, when, then: scenarios as text, played at a real commit loop.

A table is a text file of scenarios. `= title` begins one, `#` a comment, and every other line
is `given COMMAND` (which must succeed), `when COMMAND` or `then EXPECTATION` about the answer to
the last command. Commands are those of `support.text`, and:

    wait SECONDS
    namespace NAME … | node NAME …     what later ADDs find around them: `support.surroundings`
    together N COMMAND                 N commands at once, their number for each `#`

`@KEY` stands for the annotation `ipam.spidernet.io/KEY` wherever it is written. Expectations:

    created | configured | unchanged | deleted | terminating | quarantined | restored
    refused REASON [field=F] [value=V] [says=PART-OF-MESSAGE]...
    addresses A/N [A/N]            what the ADD got, in this order
    gateways G [G]                 their gateways ('' for none)
    routes [DST>GW]...             all routes of the answer
    owner API-VERSION/KIND/NAME    as the event has it
    counts OUTCOME-OR-REASON=N...  of the answers to commands given together
    verdicts POOL=VERDICT...       of the event or refusal, in this order
    freed ID | freed nothing       what the DEL or release freed
    wrote [EVENT]... | wrote nothing    what the last command added to the log
    holder ADDRESS POD SANDBOX | holder ADDRESS nobody
    free POOL COUNT
    quarantine ADDRESS MAC NODE    whose answer was seen, and where
    unused SUBNET COUNT            addresses of a subnet that are in no pool
    pool NAME RANGES SUBNET OWNER  an auto pool: its addresses, its subnet, KIND/NAME
"""

from __future__ import annotations

import asyncio
import shlex
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ipledger.engine.answers import Allocated, Applied, Refused, Released
from ipledger.engine.commands import Allocate
from ipledger.engine.subnets import free_of
from ipledger.events.addresses import parse_ip
from ipledger.events.facts import Candidate
from ipledger.events.types import AddressesAllocated
from ipledger.projections.ranges import size
from ipledger.projections.state import State
from support.desk import SECOND, Desk, serving
from support.surroundings import Surroundings, annotation_key
from support.text import command

_QUARANTINE = ("quarantined", "restored")


class Line(NamedTuple):
    """A line of a scenario: its number in the file, its first word, and the rest."""

    number: int
    keyword: str
    text: str


class Scenario(NamedTuple):
    """A titled list of lines."""

    title: str
    lines: tuple[Line, ...]


def read_table(path: Path) -> list[Scenario]:
    """All scenarios of a table."""
    titles: list[str] = []
    lines: list[list[Line]] = []
    for number, raw in enumerate(path.read_text().splitlines(), 1):
        text = raw.strip()
        if text.startswith("= "):
            titles.append(text[2:])
            lines.append([])
        elif text and not text.startswith("#"):
            keyword, _, rest = text.partition(" ")
            lines[-1].append(Line(number, keyword, rest.strip()))
    assert len(set(titles)) == len(titles), "two scenarios have one title"
    return [Scenario(title, tuple(body)) for title, body in zip(titles, lines, strict=True)]


async def play(scenario: Scenario) -> None:
    """Play a scenario. An `AssertionError` names the line that did not come true."""
    assert any(line.keyword == "then" for line in scenario.lines), "it expects nothing"
    async with serving(Desk()) as desk:
        player = Player(desk)
        for line in scenario.lines:
            try:
                await getattr(player, line.keyword)(line.text)
            except AssertionError as error:
                where = f"line {line.number}: {line.keyword} {line.text}"
                raise AssertionError(f"{where}\n{error}\nanswer: {player.answer}") from None


class Player:
    """Plays lines at a desk, and remembers the last answer."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.answer: Any = None
        self._around = Surroundings()
        self._together: list[Any] = []
        self._behind = 0

    async def given(self, text: str) -> None:
        """A command that must succeed."""
        await self.when(text)
        assert not isinstance(self.answer, Refused), "refused"

    async def when(self, text: str) -> None:
        """A command, or what else may happen."""
        verb, _, rest = text.partition(" ")
        if verb == "wait":
            self.desk.clock.now += round(float(rest) * SECOND)
        elif verb in ("namespace", "node"):
            self._around.define(verb, rest)
        elif verb == "together":
            number, _, pattern = rest.partition(" ")
            await self._ask(*(pattern.replace("#", str(n)) for n in range(int(number))))
        else:
            await self._ask(text)

    async def _ask(self, *texts: str) -> None:
        self._behind = len(self.desk.log.payloads)
        commands = [command(text) for text in texts]
        asked = [self._around.around(c) if isinstance(c, Allocate) else c for c in commands]
        self._together = await asyncio.gather(*map(self.desk.ask, asked))
        self.answer = self._together[-1]

    async def then(self, text: str) -> None:
        """An expectation about the last answer, its events, or the state now."""
        word, *rest = shlex.split(text)
        if word in ("created", "configured", "unchanged", "deleted", "terminating", *_QUARANTINE):
            assert isinstance(self.answer, Applied)
            assert self.answer.outcome == word
        elif word in _LOOKS:
            seen = await self.desk.ask(partial(_LOOKS[word], rest[0]))
            assert seen == " ".join(rest[1:])
        else:
            getattr(self, f"_{word}")(rest)

    def _refused(self, words: list[str]) -> None:
        assert isinstance(self.answer, Refused)
        refusal = self.answer.refusal
        assert refusal.reason.value == words[0]
        for key, _, value in (word.partition("=") for word in words[1:]):
            if key == "says":
                assert value in refusal.message
            else:
                assert getattr(refusal, key) == annotation_key(value)
        if refusal.field:
            shown = refusal.value in refusal.message
            assert shown or not refusal.value, "the message does not name the value"

    def _addresses(self, words: list[str]) -> None:
        assert isinstance(self.answer, Allocated)
        assert [held.address for held in self.answer.allocation.addresses] == words

    def _gateways(self, words: list[str]) -> None:
        assert isinstance(self.answer, Allocated)
        assert [held.gateway for held in self.answer.allocation.addresses] == words

    def _routes(self, words: list[str]) -> None:
        assert isinstance(self.answer, Allocated)
        assert [f"{route.dst}>{route.gw}" for route in self.answer.allocation.routes] == words

    def _verdicts(self, words: list[str]) -> None:
        assert [f"{c.pool}={c.verdict}" for c in self._decision()] == words

    def _owner(self, words: list[str]) -> None:
        owner = self._allocated().owner
        assert owner is not None
        assert [f"{owner.api_version}/{owner.kind}/{owner.name}"] == words

    def _counts(self, words: list[str]) -> None:
        seen = Counter(map(_outcome, self._together))
        assert dict(word.split("=") for word in words) == {k: str(n) for k, n in seen.items()}

    def _freed(self, words: list[str]) -> None:
        assert isinstance(self.answer, Released)
        assert (self.answer.allocation or "nothing") == words[0]

    def _wrote(self, words: list[str]) -> None:
        names = [type(event).__name__ for event in self.desk.events(self._behind)]
        assert (names or ["nothing"]) == words

    def _decision(self) -> tuple[Candidate, ...]:
        if isinstance(self.answer, Refused):
            return self.answer.refusal.decision
        return self._allocated().decision

    def _allocated(self) -> AddressesAllocated:
        events = self.desk.events(self._behind)
        [event] = [event for event in events if isinstance(event, AddressesAllocated)]
        return event


def _outcome(answer: object) -> str:
    match answer:
        case Applied():
            return answer.outcome
        case Refused():
            return answer.refusal.reason.value
        case _:
            return type(answer).__name__


def _holder(address: str, state: State) -> str:
    held = state.holder(*parse_ip(address))
    return f"{held.pod.name} {held.sandbox}" if held else "nobody"


def _free(pool: str, state: State) -> str:
    return str(state.pools[pool].free)


def _unused(subnet: str, state: State) -> str:
    return str(size(free_of(state, state.subnets[subnet])))


def _pool(name: str, state: State) -> str:
    assert name in state.pools, f"no pool {name}, but {', '.join(state.pools)}"
    spec = state.pools[name].spec
    assert spec.auto is not None
    return f"{','.join(spec.ips)} {spec.auto.subnet} {spec.auto.owner.kind}/{spec.auto.owner.name}"


def _seen(address: str, state: State) -> str:
    event = state.quarantined.get(parse_ip(address))
    return f"{event.mac} {event.node}" if event else "nowhere"


_LOOKS: dict[str, Callable[[str, State], str]] = {
    "holder": _holder,
    "free": _free,
    "quarantine": _seen,
    "unused": _unused,
    "pool": _pool,
}
