"""Who keeps an address between pods: pods of a StatefulSet, and KubeVirt virtual machines.

Such an address belongs to a place (`cart-0` of StatefulSet `cart`, or a virtual machine), which
one pod after another takes. It is held while the place exists.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ipledger.events.facts import Application, Owner, Pod

_ORDINAL = re.compile(r".*-(?P<ordinal>[0-9]+)")
MACHINES = ("VirtualMachine", "VirtualMachineInstance")
"""A virtual machine, and its running instance."""
KINDS = ("StatefulSet", *MACHINES)
"""The kinds of owners whose pods may have places."""


class ApplicationKey(NamedTuple):
    """Which application. A virtual machine and its running instance are one."""

    kind: str
    namespace: str
    name: str


class Place(NamedTuple):
    """What keeps the address: the application, and which of its pods."""

    application: ApplicationKey
    name: str


def key_of(application: Application) -> ApplicationKey:
    """The key of an application."""
    kind = MACHINES[0] if application.kind in MACHINES else application.kind
    return ApplicationKey(kind, application.namespace, application.name)


def place_of(owner: Owner | None, pod: Pod) -> Place | None:
    """The place that a pod takes, None for a pod whose address goes with it.

    Only StatefulSets of the group apps and KubeVirt's own kinds count, as in Spiderpool.
    """
    if owner is None:
        return None
    group = owner.api_version.partition("/")[0]
    if (group, owner.kind) == ("apps", "StatefulSet"):
        return Place(ApplicationKey(owner.kind, pod.namespace, owner.name), pod.name)
    if group == "kubevirt.io" and owner.kind in MACHINES:
        return Place(ApplicationKey(MACHINES[0], pod.namespace, owner.name), owner.name)
    return None


def exists(place: Place, application: Application | None) -> bool:
    """Whether the place is there, if its application is like this. Gone ones have no places."""
    if application is None:
        return False
    if place.application.kind in MACHINES:
        return True
    match = _ORDINAL.fullmatch(place.name)
    if match is None:
        return False
    return 0 <= int(match["ordinal"]) - application.start < application.replicas
