"""Whom an ADD says that it is for. The names are kept for ever, by every replica, and shown."""

from __future__ import annotations

from collections.abc import Iterator

from ipledger.engine.commands import Allocate
from ipledger.engine.refusals import Refusal, invalid

NAME_MAX = 253
"""Characters of a name: the most that Kubernetes lets any of these have."""


def unknowable(command: Allocate) -> Refusal | None:
    """Why the names of an ADD may not be in the log; None if they may.

    A node could else store as much as it likes with each address, and write on the terminal of
    whoever reads of it.
    """
    for field, text in _names(command):
        if len(text) > NAME_MAX or not text.isprintable():
            what = f"is longer than {NAME_MAX} characters, or has one that cannot be shown"
            return invalid(field, text, what)
    return None


def _names(command: Allocate) -> Iterator[tuple[str, str]]:
    pod, owner = command.pod, command.owner
    yield "pod.namespace", pod.namespace
    yield "pod.name", pod.name
    yield "pod.uid", pod.uid
    if owner is not None:
        yield "owner.apiVersion", owner.api_version
        yield "owner.kind", owner.kind
        yield "owner.name", owner.name
        yield "owner.uid", owner.uid
    yield "network", command.network[:NAME_MAX]
    yield "networkName", command.network_name[:NAME_MAX]
