"""Allocations by every key that a question or a command comes with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from ipledger.events.facts import Address, Pod, Route
from ipledger.events.position import Position

Identity: TypeAlias = tuple[str, str]
"""Whose address it is: pod UID and interface. Invariant 8: one allocation at most."""

Attachment: TypeAlias = tuple[str, str]
"""Where it is used: CNI container id and interface."""


class Allocation(msgspec.Struct, frozen=True, gc=False):
    """One interface of one pod with its addresses. `since` is in microseconds (Unix)."""

    id: str
    pod: Pod
    node: str
    sandbox: str
    interface: str
    network: str
    addresses: tuple[Address, ...]
    routes: tuple[Route, ...]
    sequence: int
    index: int
    since: int

    @property
    def identity(self) -> Identity:
        """Pod UID and interface."""
        return self.pod.uid, self.interface

    @property
    def attachment(self) -> Attachment:
        """Sandbox and interface."""
        return self.sandbox, self.interface

    @property
    def position(self) -> Position:
        """Where in the log it was allocated."""
        return Position(self.sequence, self.index)


class Allocations:
    """The live allocations. Every key leads to at most one (invariant 8)."""

    __slots__ = ("_by_attachment", "_by_id", "_by_identity")

    def __init__(self) -> None:
        self._by_id: dict[str, Allocation] = {}
        self._by_identity: dict[Identity, Allocation] = {}
        self._by_attachment: dict[Attachment, Allocation] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def all(self) -> Iterable[Allocation]:
        """In the order of their allocation."""
        return self._by_id.values()

    def get(self, allocation_id: str) -> Allocation | None:
        """The live allocation of that id."""
        return self._by_id.get(allocation_id)

    def of(self, identity: Identity) -> Allocation | None:
        """The live allocation that belongs to an identity."""
        return self._by_identity.get(identity)

    def at(self, attachment: Attachment) -> Allocation | None:
        """The live allocation used by an attachment."""
        return self._by_attachment.get(attachment)

    def add(self, allocation: Allocation) -> None:
        """A new allocation, or a changed one in the place of its old form."""
        self._by_id[allocation.id] = allocation
        self._by_identity[allocation.identity] = allocation
        self._by_attachment[allocation.attachment] = allocation

    def remove(self, allocation_id: str) -> Allocation:
        """Take an allocation out. It must be live (invariant 7)."""
        allocation = self._by_id.pop(allocation_id)
        del self._by_identity[allocation.identity]
        del self._by_attachment[allocation.attachment]
        return allocation

    def rebind(self, allocation_id: str, sandbox: str) -> tuple[Allocation, Allocation]:
        """Move an allocation to another sandbox. Returns its old and its new form."""
        old = self.remove(allocation_id)
        new = msgspec.structs.replace(old, sandbox=sandbox)
        self.add(new)
        return old, new
