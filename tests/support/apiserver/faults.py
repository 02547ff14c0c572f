"""Calls as they came in, and what is to go wrong with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from support.apiserver.errors import StatusError


@dataclass(frozen=True)
class Call:
    """A call as permissions know it, with its parameters."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    query: dict[str, str] = field(default_factory=dict[str, str], compare=False)

    @property
    def permission(self) -> tuple[str, str, str]:
        """What a role must allow: group, resource with subresource, verb."""
        return (self.group, self.resource, self.verb)


@dataclass
class Fault:
    """Goes wrong with the next `times` calls of a verb and resource ('' means any).

    `error` is answered, or `answer`, as if all were well; `gate` must be opened first; `drop`
    breaks the connection, behind `after_bytes` of a good answer; `ends` lets a watch end at once.
    """

    verb: str = ""
    resource: str = ""
    times: int = 1
    error: StatusError | None = None
    answer: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str])
    gate: asyncio.Event | None = None
    drop: bool = False
    after_bytes: int = 0
    ends: bool = False
    event: dict[str, Any] | None = None
    """A watch event that is told first; an ERROR ends the watch."""
    when: Callable[[Call], bool] = lambda _: True

    def takes(self, call: Call) -> bool:
        """Whether it is this call's turn; counts."""
        fits = self.verb in ("", call.verb) and self.resource in ("", call.resource)
        if not (self.times and fits and self.when(call)):
            return False
        self.times -= 1
        return True
