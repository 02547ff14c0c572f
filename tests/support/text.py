"""The short text in which tests write pools and commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

from ipledger.engine.commands import (
    Allocate,
    AnyCommand,
    ApplyApplication,
    ApplyPool,
    ApplyReservation,
    ApplySubnet,
    Attachment,
    Conflict,
    DeleteApplication,
    DeletePool,
    DeleteReservation,
    DeleteSubnet,
    ImportAllocation,
    QuarantineAddress,
    Release,
    ReleaseAllocation,
    RestoreAddress,
    RetainAttachments,
)
from ipledger.events.facts import (
    Address,
    Application,
    Owner,
    Pod,
    PoolSpec,
    Requirement,
    ReservationSpec,
    Route,
    Selector,
    SubnetSpec,
)
from support.surroundings import labels, take_annotations

_BOOLEANS = {"": None, "true": True, "false": False}
_SET_OPERATORS = {"in": "In", "notin": "NotIn"}


def fields(words: list[str]) -> dict[str, str]:
    """`key=value` words as a dict; a bare word is a key without a value."""
    return {key: value for key, _, value in (word.partition("=") for word in words)}


def pool_spec(text: str) -> PoolSpec:
    """A pool: `NAME SUBNET [ips=A-B,C] [exclude=…] [gateway=…] [routes=DST>GW] [default] …`.

    The affinities have their names in the manifest: `podAffinity='app=web, tier in (a, b)'`,
    `nodeName=n1,n2`, `multusName=NAMESPACE/NAME`.
    """
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
        pod_affinity=selector(given.pop("podAffinity", None)),
        namespace_name=_list(given.pop("namespaceName", "")),
        namespace_affinity=selector(given.pop("namespaceAffinity", None)),
        node_name=_list(given.pop("nodeName", "")),
        node_affinity=selector(given.pop("nodeAffinity", None)),
        multus_name=_list(given.pop("multusName", "")),
        inherited=_list(given.pop("inherited", "")),
    )
    assert not given, f"unknown words in pool {text!r}: {given}"
    return spec


def selector(text: str | None) -> Selector | None:
    """A label selector as kubectl writes it: `app=web, tier in (a,b), zone notin (c), gpu, !spot`.

    An equality becomes a label of `matchLabels`, everything else one of `matchExpressions`.
    """
    if text is None:
        return None
    terms = [term.strip() for term in re.split(r",(?![^(]*\))", text) if term.strip()]
    equal = [term for term in terms if "=" in term]
    return Selector(
        match_labels=labels(",".join(equal)),
        match_expressions=tuple(_requirement(term) for term in terms if term not in equal),
    )


def command(text: str) -> AnyCommand:
    """A command, by its first word.

    `pool … [reclaim=true]`, `delete NAME [when-empty]`, `subnet …`, `unsubnet NAME`,
    `reserve NAME A-B…`, `unreserve NAME`,
    `application …`, `gone …`, `ADD POD …`, `DEL SANDBOX …`, `GC NETWORK …`, `import POD …`,
    `quarantine ADDRESS [mac=…] [evidence=…]`, `restore ADDRESS`,
    `release ID [uid=…] [sandbox=…] [reason=gc] [evidence=…]`.
    """
    verb, _, rest = text.partition(" ")
    if verb == "pool":
        text, _, reclaim = rest.partition(" reclaim=")
        return ApplyPool(pool=pool_spec(text), reclaim=_BOOLEANS[reclaim])
    if verb == "subnet":
        return ApplySubnet(subnet=subnet_spec(rest))
    if verb == "unsubnet":
        return DeleteSubnet(name=rest.strip())
    assert verb in _COMMANDS, f"unknown command {text!r}"
    return _COMMANDS[verb](*shlex.split(rest))


def subnet_spec(text: str) -> SubnetSpec:
    """A subnet: `NAME SUBNET [ips=…] [exclude=…] [gateway=…] [routes=DST>GW]`, as of a pool."""
    spec = pool_spec(text)
    common = {field: getattr(spec, field) for field in SubnetSpec.__struct_fields__}
    return SubnetSpec(**common)


def reservation_spec(name: str, *words: str) -> ReservationSpec:
    """A reservation: `NAME [A-B]… [version=4]`."""
    ips = tuple(word for word in words if "=" not in word)
    version = fields([word for word in words if "=" in word]).get("version", "0")
    return ReservationSpec(name, int(version), ips)


def application(text: str, *words: str) -> Application:
    """An application: `apps/v1/StatefulSet/cart [ns=ns] [uid=…] [replicas=1] [start=0] [@KEY=…]`"""
    api_version, kind, name = text.rsplit("/", 2)
    given = fields(list(words))
    made = Application(
        api_version,
        kind,
        given.pop("ns", "ns"),
        name,
        given.pop("uid", ""),
        replicas=int(given.pop("replicas", "1")),
        start=int(given.pop("start", "0")),
        annotations=take_annotations(given),
    )
    assert not given, f"unknown words in application {text}: {given}"
    return made


def add(pod: str, *words: str) -> Allocate:
    """An ADD: `POD [sandbox=…] [uid=…] [if=eth0] [node=n1] [network=…] [v4=a,b] [v6=c]
    [clean-gateway]`.

    And what the cluster says of the pod: `[ns=ns] [labels=K=V,…] [owner=apps/v1/Deployment/web]
    [owner-uid=…] [replicas=2] [no-auto-pools]
    [net=NAMESPACE/NAME] [@ippool='{"ipv4":["a"]}']…`, annotations as in `support.surroundings`;
    `conflict=ADDRESS[/MAC],…` is what the agent saw;
    `long=N` adds one of somebody else's of N characters.
    """
    given = fields(list(words))
    if "long" in given:
        given["@example.com/long"] = "x" * int(given.pop("long"))
    made = Allocate(
        pod=Pod(given.pop("ns", "ns"), pod, given.pop("uid", f"{pod}-uid")),
        sandbox=given.pop("sandbox", f"{pod}-sandbox"),
        interface=given.pop("if", "eth0"),
        node=given.pop("node", "n1"),
        network=given.pop("network", ""),
        default_ipv4_pools=_list(given.pop("v4", "")),
        default_ipv6_pools=_list(given.pop("v6", "")),
        clean_gateway=given.pop("clean-gateway", None) is not None,
        owner=_owner(given.pop("owner", ""), given.pop("owner-uid", "")),
        replicas=int(given.pop("replicas")) if "replicas" in given else None,
        auto_pools=given.pop("no-auto-pools", None) is None,
        labels=labels(given.pop("labels", "")),
        annotations=take_annotations(given),
        network_name=given.pop("net", ""),
        conflicts=tuple(map(_conflict, _list(given.pop("conflict", "")))),
    )
    assert not given, f"unknown words in ADD {pod}: {given}"
    return made


def _conflict(text: str) -> Conflict:
    address, _, mac = text.partition("/")
    return Conflict(address, mac, seen=1)


def _quarantine(address: str, *words: str) -> QuarantineAddress:
    given = fields(list(words))
    mac, evidence = given.pop("mac", ""), given.pop("evidence", "")
    return QuarantineAddress(address=address, mac=mac, evidence=evidence)


def _restore(address: str, *words: str) -> RestoreAddress:
    return RestoreAddress(address=address, evidence=fields(list(words)).get("evidence", ""))


def delete(sandbox: str, *words: str) -> Release:
    """A DEL: `SANDBOX [if=eth0] [node=n1] [no-fence] [ended-pod=UID]`."""
    given = fields(list(words))
    made = Release(
        sandbox=sandbox,
        interface=given.pop("if", "eth0"),
        node=given.pop("node", "n1"),
        fence=given.pop("no-fence", None) is None,
        ended_pod=given.pop("ended-pod", ""),
    )
    assert not given, f"unknown words in DEL {sandbox}: {given}"
    return made


def retain(network: str, *words: str) -> RetainAttachments:
    """A GC: `NETWORK [SANDBOX/INTERFACE]… [node=n1]`."""
    given = fields([word for word in words if "=" in word])
    listed = (word.partition("/") for word in words if "=" not in word)
    made = RetainAttachments(
        network=network,
        attachments=tuple(Attachment(sandbox, interface) for sandbox, _, interface in listed),
        node=given.pop("node", "n1"),
    )
    assert not given, f"unknown words in GC {network}: {given}"
    return made


def take_over(pod: str, *words: str) -> ImportAllocation:
    """An import: `POD POOL=ADDRESS/N[>GATEWAY]… [ns=ns] [uid=…] [if=eth0] [node=n1] [owner=…]
    [slot=N] [network=…] [routes=DST>GW] [held]`."""
    given = fields(list(words))
    return ImportAllocation(
        pod=Pod(given.pop("ns", "ns"), pod, given.pop("uid", f"{pod}-uid")),
        interface=given.pop("if", "eth0"),
        node=given.pop("node", "n1"),
        owner=_owner(given.pop("owner", ""), given.pop("owner-uid", "")),
        slot=int(given.pop("slot", "-1")),
        network=given.pop("network", ""),
        routes=tuple(_route(route) for route in _list(given.pop("routes", ""))),
        held=given.pop("held", None) is not None,
        source=f"SpiderEndpoint ns/{pod}",
        addresses=tuple(
            Address(pool, *address.split(">", 1)) for pool, address in list(given.items())
        ),
    )


def _list(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _requirement(term: str) -> Requirement:
    if match := re.fullmatch(r"(\S+) (in|notin) \((.*)\)", term):
        values = tuple(value.strip() for value in match[3].split(",") if value.strip())
        return Requirement(match[1], _SET_OPERATORS[match[2]], values)
    if term.startswith("!"):
        return Requirement(term[1:], "DoesNotExist")
    return Requirement(term, "Exists")


def _owner(text: str, uid: str) -> Owner | None:
    if not text:
        return None
    api_version, kind, name = text.rsplit("/", 2)
    return Owner(api_version, kind, name, uid)


def _route(text: str) -> Route:
    destination, _, gateway = text.partition(">")
    return Route(destination, gateway)


def _release(allocation: str, *words: str) -> ReleaseAllocation:
    given: dict[str, Any] = fields(list(words))
    return ReleaseAllocation(allocation=allocation, **given)


def _delete_pool(name: str, *words: str) -> DeletePool:
    return DeletePool(name=name, when_empty=words == ("when-empty",))


def _unreserve(name: str) -> DeleteReservation:
    return DeleteReservation(name=name)


def _reserve(name: str, *words: str) -> ApplyReservation:
    return ApplyReservation(reservation=reservation_spec(name, *words))


def _apply(text: str, *words: str) -> ApplyApplication:
    return ApplyApplication(application=application(text, *words))


def _gone(text: str, *words: str) -> DeleteApplication:
    made = application(text, *words)
    return DeleteApplication(
        api_version=made.api_version,
        kind=made.kind,
        namespace=made.namespace,
        name=made.name,
        uid=made.uid,
    )


_COMMANDS: dict[str, Callable[..., AnyCommand]] = {
    "delete": _delete_pool,
    "reserve": _reserve,
    "unreserve": _unreserve,
    "application": _apply,
    "gone": _gone,
    "ADD": add,
    "DEL": delete,
    "GC": retain,
    "release": _release,
    "import": take_over,
    "quarantine": _quarantine,
    "restore": _restore,
}
