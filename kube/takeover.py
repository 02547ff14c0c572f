"""What taking over a Spiderpool comes to: commands, and everything that contradicts itself.

Pure. Spiderpool keeps an allocation twice, in its pool's status and in its pod's SpiderEndpoint,
and the pod's kubelet says a third time which addresses the pod has. All must agree (ADR 65).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ipledger.engine import pod_annotations
from ipledger.engine.commands import (
    AnyApply,
    ApplyApplication,
    ApplyPool,
    ImportAllocation,
    ImportAutoPool,
)
from ipledger.engine.refusals import Refusal
from ipledger.events.facts import Address, Application, Owner, Route
from ipledger.events.facts import Pod as PodFact
from ipledger.kube.auto_takeover import auto_pool, is_auto_pool, told_by_pods
from ipledger.kube.disagreements import Claim, Contradiction, Living, disagreements
from ipledger.kube.reading import as_manifest, read_resource
from ipledger.kube.resources import APPS, BATCH, KUBEVIRT, FieldError
from ipledger.kube.spiderpool import Spiderpool
from ipledger.kube.workloads import told_of
from ipledger.projections.applications import MACHINES, ApplicationKey, key_of, key_of_owner
from ipledger.projections.cluster import kinds
from ipledger.projections.cluster.kinds import Kind
from ipledger.projections.cluster.pods import Pod
from ipledger.projections.cluster.spiderpool import (
    EndpointAddress,
    SpiderEndpoint,
    SpiderIPPool,
)
from ipledger.projections.cluster.workloads import Workload
from ipledger.projections.fixed import exists, place_of

_KEEP_ADDRESSES = ("StatefulSet", *MACHINES)
_FIRST_INTERFACE = "eth0"
_API_VERSIONS = {
    **dict.fromkeys(("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"), APPS),
    **dict.fromkeys(("Job", "CronJob"), BATCH),
    **dict.fromkeys(("VirtualMachine", "VirtualMachineInstance"), KUBEVIRT),
}
"""Of the owners that Spiderpool looks up itself, whose version it does not record."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource, and the command that it stands for."""

    kind: str
    name: str
    command: AnyApply | ImportAutoPool


@dataclass(frozen=True, slots=True)
class Plan:
    """Commands in the order in which they are to be given, and why not to."""

    resources: list[Resource] = field(default_factory=list[Resource])
    allocations: list[ImportAllocation] = field(default_factory=list[ImportAllocation])
    contradictions: list[Contradiction] = field(default_factory=list[Contradiction])


def plan(found: Spiderpool) -> Plan:
    """What taking all of it over comes to. Leftovers are in no command."""
    made = Plan()
    made.contradictions.extend(Contradiction(n, "exists", "unreadable") for n in found.unreadable)
    living = Living(found.pods)
    applications = _applications(found)
    _plan_resources(made, found, applications)
    told = set(_with_auto_pools(made))
    for endpoint in found.endpoints:
        for command in _taken_over(made, endpoint, living, applications):
            made.allocations.append(command)
            if command.owner is not None and command.owner.kind in _KEEP_ADDRESSES:
                told.add(key_of_owner(command.owner, command.pod.namespace))
    made.contradictions.extend(disagreements(found.pools, _claims(found), living))
    for key in sorted(told & applications.keys()):
        name = f"{key.namespace}/{key.name}"
        application = ApplyApplication(application=applications[key])
        made.resources.append(Resource(key.kind, name, application))
    return made


def _with_auto_pools(made: Plan) -> Iterator[ApplicationKey]:
    """The applications whose auto pools are taken over, but for those that are gone."""
    for resource in made.resources:
        command = resource.command
        if isinstance(command, ImportAutoPool) and command.application is not None:
            yield key_of(command.application)


def _plan_resources(
    made: Plan, found: Spiderpool, applications: dict[ApplicationKey, Application]
) -> None:
    """Subnets, then pools, which take from them, then reservations."""
    listed: tuple[tuple[Kind[Any], list[Any]], ...] = (
        (kinds.SUBNETS, found.subnets),
        (kinds.POOLS, found.pools),
        (kinds.RESERVATIONS, found.reservations),
    )
    for kind, objects in listed:
        for one in sorted(objects, key=lambda o: o.metadata.name):
            about = f"{kind.name} {one.key}"
            command: AnyApply | ImportAutoPool | Contradiction
            try:
                command = read_resource(as_manifest(kind, one))
            except FieldError as error:
                command = Contradiction(about, str(error), "ipledger cannot read it")
            if (
                isinstance(one, SpiderIPPool)
                and isinstance(command, ApplyPool)
                and is_auto_pool(one)
            ):
                command = auto_pool(one, command, applications)
            if isinstance(command, Contradiction):
                made.contradictions.append(command)
            else:
                made.resources.append(Resource(kind.name, one.metadata.name, command))


def _applications(found: Spiderpool) -> dict[ApplicationKey, Application]:
    """Those whose pods keep their addresses or have auto pools."""
    listed: list[tuple[Kind[Workload], Workload]] = [
        *((kinds.STATEFUL_SETS, one) for one in found.stateful_sets),
        *((kinds.MACHINES, one) for one in found.machines),
        *found.workloads,
    ]
    told = (told_of(kind, one) for kind, one in listed)
    read = {key_of(application): application for application in told}
    return told_by_pods(found.pools, found.pods) | read


def _claims(found: Spiderpool) -> Iterator[Claim]:
    for endpoint in found.endpoints:
        current = endpoint.status.current
        for ip in current.ips:
            for address, pool in ((ip.ipv4, ip.ipv4_pool), (ip.ipv6, ip.ipv6_pool)):
                if address:
                    text = address.partition("/")[0]
                    yield Claim(pool or "", text, str(endpoint.key), current.uid, ip.interface)


def _taken_over(
    made: Plan,
    endpoint: SpiderEndpoint,
    living: Living,
    applications: dict[ApplicationKey, Application],
) -> Iterator[ImportAllocation]:
    """The allocations of an endpoint, or why there are none."""
    current = endpoint.status.current
    if not current.ips:
        return
    pod = living.of_uid(current.uid)
    owner = _owner(endpoint, pod)
    about = f"SpiderEndpoint {endpoint.key}"
    named = _named(endpoint, pod)
    held = pod is None
    if held and not _keeps_place(owner, named, living, applications):
        addresses = [c.address for c in _claims(Spiderpool(endpoints=[endpoint]))]
        one = f"pod UID {current.uid} has {', '.join(addresses)}"
        leftover = not any(living.has_address(address) for address in addresses)
        made.contradictions.append(Contradiction(about, one, "no pod has that UID", leftover))
        return
    if held:
        living.expected.add(current.uid)
    faults = list(_faults(about, endpoint, pod))
    made.contradictions.extend(faults)
    routes = _routes(made, about, pod)
    if faults:
        return
    unnamed = _claims_slots(pod)
    for index, ip in enumerate(current.ips):
        yield ImportAllocation(
            pod=named,
            node=current.node,
            interface=ip.interface,
            addresses=tuple(_addresses(ip)),
            source=about,
            held=held,
            owner=owner,
            slot=index if unnamed else -1,
            clean_gateway=bool(ip.clean_gateway),
            routes=routes,
        )


def _named(endpoint: SpiderEndpoint, pod: Pod | None) -> PodFact:
    """The pod of an endpoint, which has its name or that of a virtual machine."""
    namespace = endpoint.metadata.namespace
    if pod is None:
        return PodFact(namespace, endpoint.metadata.name, endpoint.status.current.uid)
    return PodFact(namespace, pod.metadata.name, pod.runtime_uid)


def _keeps_place(
    owner: Owner | None,
    named: PodFact,
    living: Living,
    applications: dict[ApplicationKey, Application],
) -> bool:
    """Whether the addresses of a pod that is gone wait for the next one in its place."""
    place = place_of(owner, named.namespace, named.name)
    if owner is None or place is None or living.has_started(named.namespace, named.name):
        return False
    return exists(place, applications.get(key_of_owner(owner, named.namespace)))


def _faults(about: str, endpoint: SpiderEndpoint, pod: Pod | None) -> Iterator[Contradiction]:
    current = endpoint.status.current
    if pod is not None and pod.spec.node_name != current.node:
        where = f"pod {pod.key} is on node {pod.spec.node_name}"
        yield Contradiction(about, f"on node {current.node}", where)
    for ip in current.ips:
        shown = ", ".join(address for address in (ip.ipv4, ip.ipv6) if address)
        if not ip.interface:
            yield Contradiction(about, f"has {shown}", "no interface has asked for it yet")
        if not shown or (ip.ipv4 and not ip.ipv4_pool) or (ip.ipv6 and not ip.ipv6_pool):
            what = f"interface {ip.interface} has {shown or 'no address'}"
            yield Contradiction(about, what, "of no pool")
        if pod is not None and ip.interface == _FIRST_INTERFACE:
            yield from _unlike_kubelet(about, ip, pod)


def _unlike_kubelet(about: str, ip: EndpointAddress, pod: Pod) -> Iterator[Contradiction]:
    """The kubelet reports the addresses of the first interface, once there are any."""
    reported = {one.ip for one in pod.status.pod_ips}
    recorded = {a.partition("/")[0] for a in (ip.ipv4, ip.ipv6) if a}
    if reported and reported != recorded:
        one = f"{ip.interface} has {', '.join(sorted(recorded))}"
        yield Contradiction(about, one, f"pod {pod.key} has {', '.join(sorted(reported))}")


def _owner(endpoint: SpiderEndpoint, pod: Pod | None) -> Owner | None:
    """The top owner. Its version and UID are known where it is the pod's direct one."""
    kind, name = endpoint.status.owner_controller_type, endpoint.status.owner_controller_name
    direct = pod.metadata.controller if pod else None
    if direct is not None and (direct.kind, direct.name) == (kind, name):
        return Owner(direct.api_version, kind, name, direct.uid)
    return Owner(_API_VERSIONS[kind], kind, name) if kind in _API_VERSIONS else None


def _addresses(ip: EndpointAddress) -> Iterator[Address]:
    if ip.ipv4:
        yield Address(ip.ipv4_pool or "", ip.ipv4, ip.ipv4_gateway or "")
    if ip.ipv6:
        yield Address(ip.ipv6_pool or "", ip.ipv6, ip.ipv6_gateway or "")


def _routes(made: Plan, about: str, pod: Pod | None) -> tuple[Route, ...]:
    """The routes of the pod's annotation."""
    text = pod.metadata.annotations.get(pod_annotations.ROUTES) if pod else None
    found = pod_annotations.routes(text) if text is not None else ()
    if isinstance(found, Refusal):
        made.contradictions.append(Contradiction(about, found.message, "ipledger cannot read it"))
        return ()
    return found


def _claims_slots(pod: Pod | None) -> bool:
    """Whether the pod's interfaces claim the items of an `ippools` annotation in their order."""
    text = pod.metadata.annotations.get(pod_annotations.IPPOOLS) if pod else None
    items = pod_annotations.interface_pools(text) if text is not None else ()
    return not isinstance(items, Refusal) and bool(items) and not items[0].interface
