"""An ADD whose addresses are proved before they are handed over: nothing else answers to them.

Only what nobody was told of is probed: to an address that a pod has, the pod itself answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias
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

Ask: TypeAlias = Callable[[tuple[Conflict, ...]], Awaitable[Allocated]]
"""Asks the engine for addresses, and tells it of conflicts on those that it gave before."""


@dataclass(slots=True)
class Proving:
    """Proves the addresses of one node's ADDs.

    `_unproven` are allocations that were not handed over, by their ids: an ADD that ended early
    leaves one behind, and the next one of the pod is answered with it.
    """

    probe: Probe = field(default_factory=Probe)
    _unproven: OrderedDict[str, None] = field(default_factory=OrderedDict[str, None], init=False)
    _turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = field(
        default_factory=WeakValueDictionary[tuple[str, str], asyncio.Lock], init=False
    )

    def turn(self, attachment: tuple[str, str]) -> asyncio.Lock:
        """One ADD of an attachment at a time: the second gets what the first one proved."""
        return self._turns.setdefault(attachment, asyncio.Lock())

    async def proved(self, ask: Ask, interface: str, told: Position, parent: str = "") -> Allocated:
        """Addresses that nothing on `interface` has. Raises `CniError` where none is found.

        `told` is the newest position that this agent knew before: what was allocated behind it,
        no pod has. Where that cannot be found out, they are handed over as they are. `parent` is
        the traceparent of the ADD.
        """
        answer, conflicts = await ask(()), tuple[Conflict, ...]()
        for _ in range(_TRIES):
            held = answer.allocation
            conflicts = ()
            if self._is_new(held, told):
                conflicts = await self._conflicts(held, interface, parent)
            if not conflicts:
                self._unproven.pop(held.id, None)
                return answer
            answer = await _asked_again(ask, conflicts)
        self._is_new(answer.allocation, told)
        shown = _shown({c.address: c.mac for c in conflicts})
        message = f"others answer to {_TRIES} addresses in turn; the last is {shown}"
        raise CniError(Code.ADDRESS_CONFLICT, message)

    def _is_new(self, held: AllocationRow, told: Position) -> bool:
        if not held.bound and Position.parse(held.position) > told:
            self._unproven[held.id] = None
            if len(self._unproven) > _REMEMBERED_MAX:
                self._unproven.popitem(last=False)
        return held.id in self._unproven

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
        now = wall_clock()
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
