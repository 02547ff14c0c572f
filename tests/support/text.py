"""The short text in which tests write pools and commands."""

from __future__ import annotations

import shlex

from ipledger.engine.commands import (
    Allocate,
    AnyCommand,
    ApplyPool,
    DeletePool,
    Release,
    ReleaseAllocation,
)
from ipledger.events.facts import Pod, PoolSpec, Route


def fields(words: list[str]) -> dict[str, str]:
    """`key=value` words as a dict; a bare word is a key without a value."""
    return {key: value for key, _, value in (word.partition("=") for word in words)}


def pool_spec(text: str) -> PoolSpec:
    """A pool: `NAME SUBNET [ips=A-B,C] [exclude=…] [gateway=…] [routes=DST>GW] [default] …`."""
    name, subnet, *words = shlex.split(text)
    given = fields(words)
    spec = PoolSpec(
        name=name,
        ip_version=int(given.pop("version", "0")),
        subnet=subnet,
        ips=_list(given.pop("ips", "")),
        exclude_ips=_list(given.pop("exclude", "")),
        gateway=given.pop("gateway", ""),
        routes=tuple(_route(route) for route in _list(given.pop("routes", ""))),
        default=given.pop("default", None) is not None,
        disable=given.pop("disable", None) is not None,
    )
    assert not given, f"unknown words in pool {text!r}: {given}"
    return spec


def command(text: str) -> AnyCommand:
    """A command: `pool …`, `delete NAME`, `ADD POD …`, `DEL SANDBOX …`, `release ID …`."""
    verb, _, rest = text.partition(" ")
    match verb:
        case "pool":
            return ApplyPool(pool=pool_spec(rest))
        case "delete":
            return DeletePool(name=rest.strip())
        case "ADD":
            return add(*shlex.split(rest))
        case "DEL":
            return delete(*shlex.split(rest))
        case "release":
            allocation, *words = shlex.split(rest)
            return ReleaseAllocation(allocation=allocation, **fields(words))
        case _:
            raise AssertionError(f"unknown command {text!r}")


def add(pod: str, *words: str) -> Allocate:
    """An ADD: `POD [sandbox=…] [uid=…] [if=eth0] [node=n1] [v4=a,b] [v6=c] [clean-gateway]`."""
    given = fields(list(words))
    made = Allocate(
        pod=Pod("ns", pod, given.pop("uid", f"{pod}-uid")),
        sandbox=given.pop("sandbox", f"{pod}-sandbox"),
        interface=given.pop("if", "eth0"),
        node=given.pop("node", "n1"),
        default_ipv4_pools=_list(given.pop("v4", "")),
        default_ipv6_pools=_list(given.pop("v6", "")),
        clean_gateway=given.pop("clean-gateway", None) is not None,
    )
    assert not given, f"unknown words in ADD {pod}: {given}"
    return made


def delete(sandbox: str, *words: str) -> Release:
    """A DEL: `SANDBOX [if=eth0] [node=n1] [no-fence]`."""
    given = fields(list(words))
    made = Release(
        sandbox=sandbox,
        interface=given.pop("if", "eth0"),
        node=given.pop("node", "n1"),
        fence=given.pop("no-fence", None) is None,
    )
    assert not given, f"unknown words in DEL {sandbox}: {given}"
    return made


def _list(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _route(text: str) -> Route:
    destination, _, gateway = text.partition(">")
    return Route(destination, gateway)
