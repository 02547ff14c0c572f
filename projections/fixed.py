"""Who keeps an address between pods: pods of a StatefulSet, and KubeVirt virtual machines.

Such an address belongs to a place (`cart-0` of StatefulSet `cart`, or a virtual machine), which
one pod after another takes. It is held while the place exists.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ipledger.events.facts import Application, Owner
from ipledger.projections.applications import MACHINES, ApplicationKey, key_of_owner

_ORDINAL = re.compile(r".*-(?P<ordinal>[0-9]+)")
KINDS = ("StatefulSet", *MACHINES)
"""The kinds of owners whose pods may have places."""


class Place(NamedTuple):
    """What keeps the address: the application, and which of its pods."""

    application: ApplicationKey
    name: str


def keeper_of(owner: Owner | None, namespace: str) -> ApplicationKey | None:
    """The application that keeps addresses between the pods of an owner, if it does.

    Only StatefulSets of the group apps and KubeVirt's own kinds count, as in Spiderpool.
    """
    if owner is None or owner.kind not in KINDS:
        return None
    key = key_of_owner(owner, namespace)
    kept = key.group == ("apps" if key.kind == "StatefulSet" else "kubevirt.io")
    return key if kept else None


def name_in(keeper: ApplicationKey, pod_name: str) -> str:
    """The name of the place that a pod takes in an application that keeps addresses."""
    return pod_name if keeper.kind == "StatefulSet" else keeper.name


def place_of(owner: Owner | None, namespace: str, pod_name: str) -> Place | None:
    """The place that a pod takes, None for a pod whose address goes with it."""
    keeper = keeper_of(owner, namespace)
    return None if keeper is None else Place(keeper, name_in(keeper, pod_name))


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
