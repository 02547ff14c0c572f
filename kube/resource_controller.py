"""One kind of custom resource: what its objects ask for is put into the log, and told back.

Level-triggered: whatever happened, an object is compared with the log, and what is missing is
done. It may be done twice, or by two controllers: the engine decides, and finds it so already.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ipledger.engine.client import EngineClient, RefusedError
from ipledger.engine.commands import AnyApply
from ipledger.engine.refusals import Reason, Refusal
from ipledger.kube import status
from ipledger.kube.log_view import LogView
from ipledger.kube.objects import FINALIZER, Face, Spec
from ipledger.kube.reading import as_manifest, read_resource
from ipledger.kube.resources import FieldError
from ipledger.kube.writes import Writes
from ipledger.projections.cluster.live.api import Api
from ipledger.projections.cluster.live.watch import Watch
from ipledger.projections.cluster.spiderpool import Condition, Resource

_log = logging.getLogger(__name__)

STATUS_EVERY_S = 1.0
"""An object's status is written at most so often."""

_MOMENT_S = 0.01
_NAMES_MAX = 20


class _Asked(NamedTuple):
    """What was asked for an object and when, how the log had it behind that, and the refusal."""

    uid: str
    command: AnyApply | None
    spec: Spec | None
    refusal: Refusal | None
    at: float


class _Written(NamedTuple):
    """A status that was written, and when."""

    uid: str
    at: float
    status: dict[str, Any]
    conditions: tuple[Condition, ...]


@dataclass(slots=True)
class ResourceController:
    """Carries one kind between the API server and the log.

    `later(name, seconds)` has `work(name)` called again. What was refused is asked for again after
    `refused_again_s`: the reason may be gone.
    """

    face: Face
    api: Api
    watch: Watch[Resource]
    client: EngineClient
    log: LogView
    writes: Writes
    later: Callable[[str, float], None]
    refused_again_s: float
    _asked: dict[str, _Asked] = field(default_factory=dict[str, _Asked], init=False)
    _written: dict[str, _Written] = field(default_factory=dict[str, _Written], init=False)

    async def work(self, name: str, parent: str = "") -> None:
        """Compare an object with the log, and do what is missing. `parent` is a traceparent."""
        found = self.watch.objects.get("", name)
        if found is None:
            self._asked.pop(name, None)
            self._written.pop(name, None)
            await self.without_object(name)
        elif found.metadata.is_terminating:
            await self._end(found, parent)
        elif not await self.is_over(found):
            await self._want(found, parent)

    def listed(self) -> None:
        """All objects were listed: each is to be compared anew, and what only the log has told."""
        self._asked.clear()
        self._written.clear()
        objects = self.watch.objects
        for found in objects:
            self.later(found.metadata.name, 0)
        state = self.log.state
        alone = sorted(n for n in self.face.names(state) if objects.get("", n) is None)
        left = [name for name in alone if not self.is_shown(name)]
        if left:
            shown = ", ".join(left[:_NAMES_MAX]) + (", …" if len(left) > _NAMES_MAX else "")
            kind = self.face.kind.name
            _log.warning("%s: %d only in the log, and left there: %s", kind, len(left), shown)

    # What pools alone have.

    async def without_object(self, name: str) -> None:
        """There is no object of that name."""

    def is_shown(self, name: str) -> bool:
        """Whether an object is to be made for what only the log has; then it is to be done."""
        return False

    async def is_over(self, found: Resource) -> bool:
        """Whether an object has lost what it was made for; it was deleted then."""
        return False

    def command(self, found: Resource) -> AnyApply | None:
        """What an object asks for, None if nothing. Raises `FieldError`."""
        return read_resource(as_manifest(self.face.kind, found))

    async def follow(self, found: Resource) -> None:
        """Bring the fields of an object that follow the log to where it is."""

    # The log, as an object wants it.

    async def _want(self, found: Resource, parent: str) -> None:
        if FINALIZER not in found.metadata.finalizers:
            await self.writes.set_finalizer(self.face.kind, found, there=True)
        command, refusal = self._read(found)
        if await self._is_due(found, command, refusal):
            await self._ask(found, command, refusal, parent)
        asked = self._asked[found.metadata.name]
        if asked.refusal is not None:
            due_s = asked.at + self.refused_again_s - asyncio.get_running_loop().time()
            self.later(found.metadata.name, max(due_s, 0) + _MOMENT_S)
        await self.follow(found)
        await self._tell(found, status.accepted(asked.refusal))

    def _read(self, found: Resource) -> tuple[AnyApply | None, Refusal | None]:
        try:
            return self.command(found), None
        except FieldError as error:
            return None, Refusal(Reason.INVALID_FIELD, str(error), error.field)

    async def _is_due(
        self, found: Resource, command: AnyApply | None, refusal: Refusal | None
    ) -> bool:
        asked = self._asked.get(found.metadata.name)
        if asked is None or (asked.uid, asked.command) != (found.uid, command):
            return True
        if asked.refusal is not None:
            late = asyncio.get_running_loop().time() - asked.at >= self.refused_again_s
            return late or (refusal is not None and refusal != asked.refusal)
        if command is None or asked.spec == self._spec(found):
            return False
        return await self._is_current(found, command)

    async def _is_current(self, found: Resource, command: AnyApply) -> bool:
        """Whether the API server has the object as the watch does.

        Somebody changed the log. If that was another controller, whose watch is ahead, it must not
        be undone; otherwise the object is what is wanted (ADR 60).
        """
        fresh: Resource = await self.api.get(self.face.kind, found.metadata.name)
        if fresh.uid != found.uid or self._read(fresh)[0] != command:
            return False
        name, kind = found.metadata.name, self.face.kind
        message = "the log was changed to something else; what the object says is applied again"
        _log.warning("%s %s: %s", kind.name, name, message)
        await self.writes.tell(kind, found, "ChangedInLog", message)
        return True

    async def _ask(
        self, found: Resource, command: AnyApply | None, refusal: Refusal | None, parent: str
    ) -> None:
        name = found.metadata.name
        before = self._spec(found)
        if command is not None:
            refusal = await self._apply(found, command, before, parent)
        told = self._asked.get(name)
        now = asyncio.get_running_loop().time()
        self._asked[name] = _Asked(found.uid, command, self._spec(found), refusal, now)
        is_news = refusal is not None and refusal != (told and told.refusal)
        if refusal is not None and is_news and not _has_been_told(found, refusal):
            await self.writes.tell(self.face.kind, found, refusal.reason, refusal.message)

    async def _apply(
        self, found: Resource, command: AnyApply, before: Spec | None, parent: str
    ) -> Refusal | None:
        kind, name = self.face.kind.name, found.metadata.name
        try:
            applied = await self.client.apply(command, parent)
        except RefusedError as error:
            _log.warning("%s %s: refused: %s", kind, name, error)
            return error.refusal
        await self.log.reached(self.client.position)
        if name not in self._asked and before is not None and applied.outcome == "configured":
            _log.warning("%s %s: differed from the log; the object is applied", kind, name)
        elif applied.outcome != "unchanged":
            _log.info("%s %s: %s", kind, name, applied.outcome)
        return None

    def _spec(self, found: Resource) -> Spec | None:
        return self.face.spec(self.log.state, found.metadata.name)

    # The end of an object: first in the log, then in the cluster.

    async def _end(self, found: Resource, parent: str) -> None:
        if FINALIZER not in found.metadata.finalizers:
            return
        why = await self._why_not_gone(found.metadata.name, parent)
        if why:
            self.later(found.metadata.name, self.refused_again_s)
            await self._tell(found, status.terminating(why))
        else:
            await self.writes.set_finalizer(self.face.kind, found, there=False)

    async def _why_not_gone(self, name: str, parent: str) -> str:
        """Ask for the end of what an object stands for; '' once the log has it no more."""
        why = self.why_waiting(name)
        if why:
            return why
        try:
            applied = await self.face.delete(self.client, name, parent)
        except RefusedError as error:
            gone = error.refusal.reason is self.face.unknown
            return "" if gone else error.refusal.message
        if applied.outcome == "deleted":
            return ""
        await self.log.reached(self.client.position)
        return self.why_waiting(name)

    def why_waiting(self, name: str) -> str:
        """What the end of something waits for that was asked for; '' if that is not known."""
        return ""

    # The status, as the log has it.

    async def _tell(self, found: Resource, condition: Condition) -> None:
        name, now = found.metadata.name, asyncio.get_running_loop().time()
        written = self._written.get(name)
        if written is not None and written.uid != found.uid:
            written = None
        if written is not None and now < written.at + STATUS_EVERY_S:
            self.later(name, written.at + STATUS_EVERY_S - now)
            return
        told = self.face.status(self.log.state, name)
        present = (condition, *status.cut_condition(told))
        before = written.conditions if written else found.status.conditions
        time, generation = self.writes.clock(), found.metadata.generation
        conditions = status.conditions(present, before, generation, time)
        if written is None or (written.status, written.conditions) != (told, conditions):
            await self.writes.set_status(self.face.kind, found, told, conditions)
            self._written[name] = _Written(found.uid, now, told, conditions)


def _has_been_told(found: Resource, refusal: Refusal) -> bool:
    """Whether the object's status, which a controller wrote before, has this refusal."""
    has = {(c.type, c.reason, c.message) for c in found.status.conditions}
    return (status.ACCEPTED, refusal.reason, refusal.message) in has
