"""The annotations of pods and namespaces, read into values, or what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec
from netaddr import AddrFormatError, IPNetwork

from ipledger.engine.refusals import Reason, Refusal
from ipledger.events.addresses import parse_ip
from ipledger.events.facts import Route
from ipledger.events.quoting import QUOTE_MAX, cut

IPPOOLS = "ipam.spidernet.io/ippools"
IPPOOL = "ipam.spidernet.io/ippool"
ROUTES = "ipam.spidernet.io/routes"
DEFAULT_POOLS = {
    4: "ipam.spidernet.io/default-ipv4-ippool",
    6: "ipam.spidernet.io/default-ipv6-ippool",
}
STATIC_IP = "ipledger.io/static-ip"
_FIRST_INTERFACE = "eth0"

ROUTES_MAX = 256
"""Each is in the log, and in the state of every replica as long as the pod has its addresses."""

T = TypeVar("T")


class PoolNames(msgspec.Struct, frozen=True):
    """The value of `ippool`: names or wildcards of each family."""

    ipv4: tuple[str, ...] = ()
    ipv6: tuple[str, ...] = ()


class InterfacePools(PoolNames, frozen=True):
    """An item of `ippools`. Without an interface, interfaces claim items in their order."""

    interface: str = ""
    cleangateway: bool | None = None


class _Route(msgspec.Struct, frozen=True):
    dst: str
    gw: str


def wrong(key: str, text: str, what: str) -> Refusal:
    """A refusal that names the annotation and the beginning of its value: it goes into the log."""
    shown = cut(text, QUOTE_MAX)
    return Refusal(Reason.BAD_REQUEST, f"annotation {key}: {shown!r} {what}", key, shown)


def read(key: str, text: str, kind: type[T]) -> T | Refusal:
    """An annotation's JSON as a value of that type."""
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return wrong(key, text, f"cannot be read: {cut(str(error), QUOTE_MAX)}")


def interface_pools(text: str) -> tuple[InterfacePools, ...] | Refusal:
    """The items of `ippools`: all with an interface, each once, or all without."""
    items = read(IPPOOLS, text, tuple[InterfacePools, ...])
    if isinstance(items, Refusal):
        return items
    if not items:
        return wrong(IPPOOLS, text, "requires at least one item")
    named = [item.interface for item in items if item.interface]
    if named and len(named) < len(items):
        return wrong(IPPOOLS, text, "names an interface for some items only; name all or none")
    twice = next((name for name, times in Counter(named).items() if times > 1), None)
    if twice is not None:
        return wrong(IPPOOLS, text, f"has interface {twice} twice")
    return items


def routes(text: str) -> tuple[Route, ...] | Refusal:
    """The routes of `routes`: prefixes and next hops of one family each."""
    items = read(ROUTES, text, tuple[_Route, ...])
    if isinstance(items, Refusal):
        return items
    if len(items) > ROUTES_MAX:
        return wrong(ROUTES, text, f"has {len(items)} routes, more than {ROUTES_MAX}")
    found: list[Route] = []
    for item in items:
        try:
            version, _ = parse_ip(item.gw)
            prefix = IPNetwork(item.dst)
        except (ValueError, AddrFormatError):
            return _no_route(text, item)
        if prefix.version != version or "/" not in item.dst:
            return _no_route(text, item)
        found.append(Route(str(prefix.cidr), item.gw))
    return tuple(found)


def _no_route(text: str, item: _Route) -> Refusal:
    route = cut(f"{item.dst} via {item.gw}", QUOTE_MAX)
    return wrong(ROUTES, text, f"has a route that is none: {route}")


def static_ips(text: str, interface: str) -> dict[int, int] | Refusal:
    """The addresses asked for an interface, by IP version.

    `10.6.1.7` or `10.6.1.7,fd00::7` is for eth0; `{"net1": "10.6.1.7"}` names the interface.
    """
    by_interface = text.lstrip().startswith("{")
    asked = read(STATIC_IP, text, dict[str, str]) if by_interface else {_FIRST_INTERFACE: text}
    if isinstance(asked, Refusal):
        return asked
    found: dict[int, int] = {}
    for part in filter(None, asked.get(interface, "").split(",")):
        try:
            version, address = parse_ip(part.strip())
        except ValueError as error:
            return wrong(STATIC_IP, text, f"cannot be used: {cut(str(error), QUOTE_MAX)}")
        if version in found:
            return wrong(STATIC_IP, text, f"asks for two IPv{version} addresses")
        found[version] = address
    return found


def fault(annotations: Mapping[str, str]) -> Refusal | None:
    """What is wrong with the annotations of a pod, as far as it shows without its interfaces."""
    for key, check in _CHECKS.items():
        found = check(annotations[key]) if key in annotations else None
        if isinstance(found, Refusal):
            return found
    return None


_CHECKS: dict[str, Callable[[str], object]] = {
    IPPOOLS: interface_pools,
    IPPOOL: lambda text: read(IPPOOL, text, PoolNames),
    ROUTES: routes,
    STATIC_IP: lambda text: static_ips(text, _FIRST_INTERFACE),
}
