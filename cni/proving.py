"""An ADD whose addresses are proved before they are handed over: nothing else answers to them.

Only what nobody was told of is probed: to an address that a pod has, the pod itself answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias
from weakref import WeakValueDictionary

from ipledger.cni.errors import CniError, Code
from ipledger.cni.probe import Probe, ProbeError
from ipledger.engine.answers import Allocated
from ipledger.engine.client import RefusedError
from ipledger.engine.commands import Conflict
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

    async def proved(self, ask: Ask, interface: str, told: Position) -> Allocated:
        """Addresses that nothing on `interface` answers to. Raises `CniError` where none is found.

        `told` is the newest position that this agent knew before: what was allocated behind it,
        no pod has. Where the interface cannot be probed, they are handed over as they are.
        """
        answer, conflicts = await ask(()), tuple[Conflict, ...]()
        for _ in range(_TRIES):
            held = answer.allocation
            conflicts = await self._conflicts(held, interface) if self._is_new(held, told) else ()
            if not conflicts:
                self._unproven.pop(held.id, None)
                return answer
            answer = await _asked_again(ask, conflicts)
        self._is_new(answer.allocation, told)
        message = f"others answer to {_TRIES} addresses in turn; the last is {_shown(conflicts)}"
        raise CniError(Code.ADDRESS_CONFLICT, message)

    def _is_new(self, held: AllocationRow, told: Position) -> bool:
        if not held.bound and Position.parse(held.position) > told:
            self._unproven[held.id] = None
            if len(self._unproven) > _REMEMBERED_MAX:
                self._unproven.popitem(last=False)
        return held.id in self._unproven

    async def _conflicts(self, held: AllocationRow, interface: str) -> tuple[Conflict, ...]:
        try:
            found = await self.probe.answered(interface, [a.ip for a in held.addresses])
        except ProbeError as error:
            _log.warning(
                "the addresses of %s/%s are not probed: %s", held.namespace, held.pod, error
            )
            return ()
        now = wall_clock()
        conflicts = tuple(Conflict(address=a, mac=mac, seen=now) for a, mac in found.items())
        if conflicts:
            what = "allocation %s of %s/%s is in conflict on interface %s: %s"
            _log.warning(what, held.id, held.namespace, held.pod, interface, _shown(conflicts))
        return conflicts


async def _asked_again(ask: Ask, conflicts: tuple[Conflict, ...]) -> Allocated:
    try:
        return await ask(conflicts)
    except RefusedError as error:
        refused = CniError.of_refusal(error.refusal)
        message = f"{_shown(conflicts)}, and there is no other: {refused}"
        raise CniError(refused.code, message, refused.details, refused.reason) from error


def _shown(conflicts: tuple[Conflict, ...]) -> str:
    return ", ".join(f"{c.address} (answered by {c.mac})" for c in conflicts)
