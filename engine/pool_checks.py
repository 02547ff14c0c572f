"""The checks on a pool or subnet by itself; what it may not share is in `pools` and `subnets`.

The rules are Spiderpool's (validating webhooks of SpiderIPPool and SpiderSubnet), so that a
manifest is accepted here exactly if it is accepted there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import TypeVar

import msgspec
from netaddr import AddrFormatError, IPNetwork

from ipledger.engine.refusals import Refusal, invalid
from ipledger.engine.selector_checks import selector_faults
from ipledger.events.addresses import parse_ip
from ipledger.events.facts import AddressSpace, PoolSpec
from ipledger.events.quoting import quote
from ipledger.projections.ranges import Interval, contains, network, parse_range, usable

Space = TypeVar("Space", bound=AddressSpace)

_DNS_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_SUBDOMAIN = re.compile(rf"(?=.{{1,253}}$){_DNS_LABEL}(\.{_DNS_LABEL})*")
_DEFAULT_ROUTES = ("0.0.0.0/0", "::/0")


def name_fault(name: str) -> Refusal | None:
    """What is wrong with the name of a resource, if anything is."""
    if _DNS_SUBDOMAIN.fullmatch(name):
        return None
    return invalid("metadata.name", name, "is not a DNS subdomain name")


def checked(spec: Space) -> Space | Refusal:
    """The specification of a pool or subnet with its IP version, or what is wrong with it."""
    misnamed = name_fault(spec.name)
    if misnamed is not None:
        return misnamed
    ip_version = _subnet_version(spec.subnet)
    if isinstance(ip_version, Refusal):
        return ip_version
    if spec.ip_version not in (0, ip_version):
        what = f"does not fit spec.subnet {spec.subnet} (IPv{ip_version})"
        return invalid("spec.ipVersion", spec.ip_version, what)
    spec = msgspec.structs.replace(spec, ip_version=ip_version)
    return next(_faults(spec), spec)


def _faults(spec: AddressSpace) -> Iterator[Refusal]:
    subnet = network(spec.subnet)
    yield from _range_faults(spec, "spec.ips", spec.ips, subnet)
    yield from _range_faults(spec, "spec.excludeIPs", spec.exclude_ips, subnet)
    if spec.gateway:
        yield from _gateway_faults(spec, subnet)
    yield from _route_faults(spec, subnet)
    if isinstance(spec, PoolSpec):
        yield from selector_faults(spec)


def _subnet_version(cidr: str) -> int | Refusal:
    field = "spec.subnet"
    if not cidr:
        return invalid(field, cidr, "is required, such as 10.6.0.0/16")
    address, slash, length = cidr.partition("/")
    try:
        ip_version, _ = parse_ip(address)
        net = IPNetwork(cidr)
    except (ValueError, AddrFormatError):
        return invalid(field, cidr, "is not a prefix; write it as 10.6.0.0/16 or fd00::/64")
    if not slash or not length.isdecimal():
        return invalid(field, cidr, "has no prefix length; write it as 10.6.0.0/16 or fd00::/64")
    if str(net.cidr) != cidr:
        return invalid(field, cidr, f"is not in canonical form, please change it to {net.cidr}")
    return ip_version


def _range_faults(
    spec: AddressSpace, field: str, texts: tuple[str, ...], subnet: Interval
) -> Iterator[Refusal]:
    seen: list[tuple[Interval, str]] = []
    for index, text in enumerate(texts):
        at = f"{field}[{index}]"
        try:
            first, last = parse_range(text, spec.ip_version)
        except ValueError:
            yield invalid(at, text, range_hint(text, spec.ip_version, "spec.subnet"))
            return
        if first < subnet[0] or last > subnet[1]:
            yield invalid(at, text, f"is not inside spec.subnet {spec.subnet}")
            return
        seen.append(((first, last), text))
    seen.sort()
    for (left, left_text), (right, right_text) in pairwise(seen):
        if right[0] <= left[1]:
            yield invalid(field, right_text, f"overlaps with {quote(left_text)}")
            return


def range_hint(text: str, ip_version: int, told_by: str) -> str:
    """What is wrong with a range that `parse_range` did not take.

    `told_by` is the field that says which IP version it must have.
    """
    if "/" in text:
        return "is a prefix; write a single address or a range first-last"
    try:
        ends = [parse_ip(end) for end in text.split("-", 1)]
    except ValueError:
        return f"is not an IPv{ip_version} address or range first-last (without spaces)"
    if any(version != ip_version for version, _ in ends):
        return f"is not IPv{ip_version}, as {told_by} is"
    return "is reversed: its first address is above its last"


def _gateway_faults(spec: AddressSpace, subnet: Interval) -> Iterator[Refusal]:
    field, text = "spec.gateway", spec.gateway
    gateway = _ip_inside(text, spec.ip_version, subnet)
    if gateway is None:
        yield invalid(field, text, f"is not an address inside spec.subnet {spec.subnet}")
    elif contains(usable(spec), gateway):
        yield invalid(
            field, text, "is also in spec.ips: remove it there or add it to spec.excludeIPs"
        )


def _route_faults(spec: AddressSpace, subnet: Interval) -> Iterator[Refusal]:
    seen: set[str] = set()
    for index, route in enumerate(spec.routes):
        at = f"spec.routes[{index}]"
        ip_version = _subnet_version(route.dst)
        if isinstance(ip_version, Refusal):
            what = ip_version.message.partition(f"{quote(route.dst)} ")[2]
            yield invalid(f"{at}.dst", route.dst, what)
        elif ip_version != spec.ip_version:
            yield invalid(f"{at}.dst", route.dst, f"is not IPv{spec.ip_version}, as spec.subnet is")
        elif route.dst in _DEFAULT_ROUTES:
            yield invalid(f"{at}.dst", route.dst, "is the default route: set spec.gateway instead")
        elif route.dst in seen:
            yield invalid(f"{at}.dst", route.dst, "is there twice")
        elif _ip_inside(route.gw, spec.ip_version, subnet) is None:
            what = f"is not an address inside spec.subnet {spec.subnet}"
            yield invalid(f"{at}.gw", route.gw, what)
        seen.add(route.dst)


def _ip_inside(text: str, ip_version: int, subnet: Interval) -> int | None:
    try:
        version, value = parse_ip(text)
    except ValueError:
        return None
    return value if version == ip_version and subnet[0] <= value <= subnet[1] else None
