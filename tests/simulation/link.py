"""The link that all nodes are on: pods answer there for what they use, and so do strangers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from ipledger.cni.probe import NO_PROBE, Answered, Probe, ProbeSettings
from ipledger.events.addresses import format_ip, parse_ip
from ipledger.events.facts import PoolSpec
from simulation.book import Book
from simulation.world import World

_POD, _STRANGER = "02:00:00:00:00:01", "02:00:00:00:00:02"


@dataclass(eq=False, slots=True)
class Link:
    """Who is on the link. Without strangers nobody is asked, in four runs of five."""

    world: World
    book: Book

    def drawn(self, pools: Sequence[PoolSpec]) -> None:
        """Let strangers have one of a pool's first addresses, or of several pools'."""
        random = self.world.random("strangers")
        if random.random() < 0.2:
            some = random.sample(pools, random.randint(1, len(pools)))
            self.book.strangers = frozenset(_one_of(spec, random) for spec in some)

    def probe(self, name: str, random: Random) -> LinkProbe:
        """The probe of a node's agent."""
        probe = LinkProbe(ProbeSettings(name) if self.book.strangers else NO_PROBE, random)
        probe.link = self
        return probe


class LinkProbe(Probe):
    """The real probe's answers, of a link that is none."""

    link: Link

    async def answered(self, interface: str, addresses: Iterable[str]) -> Answered:
        """See `Probe.answered`."""
        await asyncio.sleep(self.random.random() * 0.3)
        book, owners = self.link.book, dict[str, str]()
        for ip in (text.partition("/")[0] for text in addresses):
            if ip in book.strangers:
                owners[ip] = _STRANGER
            elif ip in book.users:
                owners[ip] = _POD
        return Answered(owners, {})


def _one_of(spec: PoolSpec, random: Random) -> str:
    version, first = parse_ip(spec.ips[0].partition("-")[0])
    return format_ip(version, first + random.randint(0, 2))
