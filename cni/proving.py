"""An ADD whose addresses are proved before they are handed over: nothing else answers to them.

Only what nobody was told of is probed: to an address that a pod has, the pod itself answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias, TypeVar
from weakref import WeakValueDictionary

from ipledger.cni.errors import CniError, Code
from ipledger.cni.metrics import PROBE_DURATION, PROBES
from ipledger.cni.probe import Answered, Probe, ProbeError
from ipledger.engine.answers import Allocated
from ipledger.engine.client import RefusedError
from ipledger.engine.commands import Conflict
from ipledger.events import tracing
from ipledger.events.position import Position
from ipledger.events.wall_clock import wall_clock
from ipledger.projections.rows import AllocationRow

_log = logging.getLogger(__name__)

_TRIES = 3
"""Answers of the engine that one ADD probes: where something answers to every address, it ends."""
_REMEMBERED_MAX = 4096

K = TypeVar("K")
V = TypeVar("V")

PodInterface: TypeAlias = tuple[str, str]
"""A pod's UID, and one of its interfaces."""

Ask: TypeAlias = Callable[[tuple[Conflict, ...]], Awaitable[Allocated]]
"""Asks the engine for addresses, and tells it of conflicts on those that it gave before."""


@dataclass(slots=True)
class Proving:
    """Proves the addresses of one node's ADDs.

    `_handed` says of allocations, by their ids, whether they were handed over: an ADD that ended
    early leaves one behind, and the next one of the pod is answered with it. `_unanswered` are
    interfaces whose ADD may leave one behind that nobody here is told of, with the newest position
    known before: what they got behind that was not handed over, unless `_handed` says so. `clock`
    is in microseconds since the Unix epoch.
    """

    probe: Probe = field(default_factory=Probe)
    clock: Callable[[], int] = wall_clock
    _handed: OrderedDict[str, bool] = field(default_factory=OrderedDict[str, bool], init=False)
    _unanswered: OrderedDict[PodInterface, Position] = field(
        default_factory=OrderedDict[PodInterface, Position], init=False
    )
    _turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = field(
        default_factory=WeakValueDictionary[tuple[str, str], asyncio.Lock], init=False
    )

    def turn(self, attachment: tuple[str, str]) -> asyncio.Lock:
        """One ADD of an attachment at a time: the second gets what the first one proved."""
        return self._turns.setdefault(attachment, asyncio.Lock())

    async def proved(
        self, ask: Ask, of: PodInterface, interface: str, told: Position, parent: str = ""
    ) -> Allocated:
        """Addresses for a pod's interface that nothing on the link `interface` has.

        `told` is the newest position that this agent knew before: what was allocated behind it,
        no pod has. Where that cannot be found out, they are handed over as they are. `parent` is
        the traceparent of the ADD. Raises `CniError` where none is found.
        """
        is_asked_again, told = of in self._unanswered, self._unanswered.get(of, told)
        _keep(self._unanswered, of, told)
        is_new = partial(self._is_new, told=told, is_asked_again=is_asked_again)
        answer = await self._proved(ask, interface, is_new, parent)
        self._unanswered.pop(of, None)
        _keep(self._handed, answer.allocation.id, True)
        return answer

    async def _proved(
        self, ask: Ask, interface: str, is_new: Callable[[AllocationRow], bool], parent: str
    ) -> Allocated:
        answer, conflicts = await ask(()), tuple[Conflict, ...]()
        for _ in range(_TRIES):
            held = answer.allocation
            conflicts = ()
            if is_new(held):
                conflicts = await self._conflicts(held, interface, parent)
            if not conflicts:
                return answer
            answer = await _asked_again(ask, conflicts)
        is_new(answer.allocation)
        shown = _shown({c.address: c.mac for c in conflicts})
        message = f"others answer to {_TRIES} addresses in turn; the last is {shown}"
        raise CniError(Code.ADDRESS_CONFLICT, message)

    def _is_new(self, held: AllocationRow, *, told: Position, is_asked_again: bool) -> bool:
        """Whether nobody was told of it. What another node's agent gave is bound anew here."""
        may_be = held.id not in self._handed and (is_asked_again or not held.bound)
        if may_be and Position.parse(held.position) > told:
            _keep(self._handed, held.id, False)
        return self._handed.get(held.id) is False

    async def _conflicts(
        self, held: AllocationRow, interface: str, parent: str
    ) -> tuple[Conflict, ...]:
        try:
            found = await self._probed(held, interface, parent)
        except ProbeError as error:
            _log.warning(
                "the addresses of %s/%s are not probed: %s", held.namespace, held.pod, error
            )
            return ()
        about = held.id, held.namespace, held.pod, interface
        if found.proxies:
            what = "allocation %s of %s/%s cannot be probed on interface %s, proxy ARP or NDP: %s"
            _log.warning(what, *about, _shown(found.proxies))
        if found.owners:
            what = "allocation %s of %s/%s is in conflict on interface %s: %s"
            _log.warning(what, *about, _shown(found.owners))
        now = self.clock()
        return tuple(Conflict(address=a, mac=m, seen=now) for a, m in found.owners.items())

    async def _probed(self, held: AllocationRow, interface: str, parent: str) -> Answered:
        """Ask the link, and count what it says of each address."""
        addresses = [address.address for address in held.addresses]
        about = {"network.interface.name": interface, "ipledger.addresses": ",".join(addresses)}
        counted = Counter({"failed": len(addresses)})
        try:
            with PROBE_DURATION.time(), tracing.begin("cni.probe", parent, attributes=about):
                found = await self.probe.answered(interface, addresses)
            counted = Counter(conflict=len(found.owners), proxied=len(found.proxies))
            counted["free"] = len(addresses) - counted.total()
        finally:
            for outcome, count in counted.items():
                PROBES.labels(outcome).inc(count)
        return found


def _keep(kept: OrderedDict[K, V], key: K, value: V) -> None:
    """Remember the newest _REMEMBERED_MAX."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > _REMEMBERED_MAX:
        kept.popitem(last=False)


async def _asked_again(ask: Ask, conflicts: tuple[Conflict, ...]) -> Allocated:
    try:
        return await ask(conflicts)
    except RefusedError as error:
        refused = CniError.of_refusal(error.refusal)
        shown = _shown({c.address: c.mac for c in conflicts})
        message = f"{shown}, and there is no other: {refused}"
        raise CniError(refused.code, message, refused.details, refused.reason) from error


def _shown(macs: Mapping[str, str]) -> str:
    return ", ".join(f"{address} (answered by {mac})" for address, mac in macs.items())
