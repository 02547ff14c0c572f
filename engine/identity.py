"""Whom an ADD says that it is for. The names are kept for ever, by every replica, and shown."""

from __future__ import annotations

from ipledger.engine.commands import Allocate
from ipledger.engine.refusals import Refusal, invalid

NAME_MAX = 253
"""Characters of a name: the most that Kubernetes lets any of these have."""

_FIELDS = (
    "pod.namespace",
    "pod.name",
    "pod.uid",
    "network",
    "networkName",
    "owner.apiVersion",
    "owner.kind",
    "owner.name",
    "owner.uid",
)


def unknowable(command: Allocate) -> Refusal | None:
    """Why the names of an ADD may not be in the log; None if they may.

    A node could else store as much as it likes with each address, and write on the terminal of
    whoever reads of it.
    """
    names = _names(command)
    if max(map(len, names)) <= NAME_MAX and "".join(names).isprintable():
        return None
    what = f"is longer than {NAME_MAX} characters, or has one that cannot be shown"
    for field, name in zip(_FIELDS, names, strict=False):
        if len(name) > NAME_MAX or not name.isprintable():
            return invalid(field, name, what)
    raise AssertionError("one of the names is at fault")


def _names(command: Allocate) -> tuple[str, ...]:
    """What stands in `_FIELDS`, as far as the command has it."""
    pod, owner = command.pod, command.owner
    names = (
        pod.namespace,
        pod.name,
        pod.uid,
        command.network[:NAME_MAX],
        command.network_name[:NAME_MAX],
    )
    if owner is None:
        return names
    return (*names, owner.api_version, owner.kind, owner.name, owner.uid)
