"""The annotations that ask for auto pools, read into what is asked, or what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from ipledger.engine.pod_annotations import read, wrong
from ipledger.engine.refusals import Refusal

SUBNETS = "ipam.spidernet.io/subnets"
SUBNET = "ipam.spidernet.io/subnet"
IP_NUMBER = "ipam.spidernet.io/ippool-ip-number"
RECLAIM = "ipam.spidernet.io/ippool-reclaim"
KEYS = (SUBNETS, SUBNET, IP_NUMBER, RECLAIM)

SPARE_DEFAULT = 1
"""Addresses that an auto pool has beyond its application's replicas, unless a number is given."""

_NUMBER = re.compile(r"(\+?)([0-9]{1,39})")


class IpNumber(NamedTuple):
    """How large an auto pool is: `fixed`, or `spare` more than the application has replicas."""

    fixed: int | None
    spare: int

    def wanted(self, replicas: int) -> int:
        """The addresses for so many replicas."""
        return replicas + self.spare if self.fixed is None else self.fixed


class InterfaceSubnets(msgspec.Struct, frozen=True):
    """An item of `subnets`: the first name of each family is meant. No interface means any."""

    interface: str = ""
    ipv4: tuple[str, ...] = ()
    ipv6: tuple[str, ...] = ()

    def by_version(self) -> dict[int, str]:
        """The subnet of each family that is asked for."""
        return {version: names[0] for version, names in ((4, self.ipv4), (6, self.ipv6)) if names}


class Demand(NamedTuple):
    """What annotations ask for: subnets by interface, the size of each pool, and its end."""

    key: str
    items: tuple[InterfaceSubnets, ...]
    number_text: str
    number: IpNumber
    reclaim: bool

    def of(self, interface: str) -> InterfaceSubnets | None:
        """The item for an interface."""
        return next((item for item in self.items if item.interface in ("", interface)), None)


def demand(annotations: Mapping[str, str]) -> Demand | Refusal | None:
    """What a pod's annotations ask for, None where they ask for no auto pool."""
    key = next((key for key in (SUBNETS, SUBNET) if key in annotations), None)
    if key is None:
        return None
    items = _items(key, annotations[key])
    if isinstance(items, Refusal):
        return items
    text = annotations.get(IP_NUMBER, "")
    number = ip_number(text)
    if isinstance(number, Refusal):
        return number
    reclaim = reclaim_of(annotations.get(RECLAIM, "true"))
    if isinstance(reclaim, Refusal):
        return reclaim
    return Demand(key, items, text, number, reclaim)


def ip_number(text: str) -> IpNumber | Refusal:
    """`5` is fixed, `+2` is flexible, and '' is flexible with the default."""
    if not text:
        return IpNumber(None, SPARE_DEFAULT)
    match = _NUMBER.fullmatch(text)
    if match is None:
        return wrong(IP_NUMBER, text, "is neither a number such as 5 nor a surplus such as +2")
    count = int(match[2])
    return IpNumber(None, count) if match[1] else IpNumber(count, 0)


def reclaim_of(text: str) -> bool | Refusal:
    """Whether a pool goes with its application."""
    if text not in ("true", "false"):
        return wrong(RECLAIM, text, "is neither true nor false")
    return text == "true"


def _items(key: str, text: str) -> tuple[InterfaceSubnets, ...] | Refusal:
    is_list = text.lstrip().startswith("[")
    items = read(key, text if is_list else f"[{text}]", tuple[InterfaceSubnets, ...])
    if isinstance(items, Refusal):
        return wrong(key, text, items.message.partition(" cannot")[2])
    fault = _fault(items)
    return wrong(key, text, fault) if fault else items


def _fault(items: tuple[InterfaceSubnets, ...]) -> str:
    if not items:
        return "requires at least one item"
    if not all(item.by_version() for item in items):
        return "names no subnet for an interface"
    interfaces = [item.interface for item in items]
    if len(items) > 1 and "" in interfaces:
        return "must name an interface in each item"
    if len(set(interfaces)) < len(interfaces):
        return "has an interface twice"
    subnets = [name for item in items for name in item.by_version().values()]
    if len(set(subnets)) < len(subnets):
        return "has a subnet for two interfaces"
    return ""
