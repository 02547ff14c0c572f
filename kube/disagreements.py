"""Where Spiderpool's records of pools, its endpoints and the pods themselves disagree.

Pure. A disagreement is told with both sides. What no living pod stands behind is a leftover.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from ipledger.events.addresses import format_ip, parse_ip
from ipledger.projections.cluster.metadata import Key
from ipledger.projections.cluster.pods import Pod
from ipledger.projections.cluster.spiderpool import SpiderIPPool
from ipledger.projections.ranges import Intervals, contains, minus, parse_ranges

_OVER = ("Succeeded", "Failed")


class Contradiction(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is said of something on one side and on the other.

    A `leftover` concerns no pod that is there: left out, it takes nobody's address.
    """

    about: str
    one: str
    other: str
    leftover: bool = False


class Claim(NamedTuple):
    """An endpoint's word that an interface has an address."""

    pool: str
    address: str
    endpoint: str
    uid: str
    interface: str


class _Record(msgspec.Struct, rename="camel"):
    pod: str = ""
    pod_uid: str = ""


class _Spec(msgspec.Struct):
    ips: tuple[str, ...] = ()
    exclude_ips: tuple[str, ...] = msgspec.field(default=(), name="excludeIPs")


_decode_records = msgspec.json.Decoder(dict[str, _Record]).decode
_decode_spec = msgspec.json.Decoder(_Spec).decode


class Living:
    """The pods that are there, by the UID that their runtime knows, and their addresses."""

    def __init__(self, pods: Iterable[Pod]) -> None:
        self.pods = sorted(pods, key=lambda pod: pod.key)
        self._of_uid = {pod.runtime_uid: pod for pod in self.pods}
        self._of_uid |= {pod.uid: pod for pod in self.pods}
        self._by_name = {pod.key: pod for pod in self.pods}
        self.expected: set[str] = set()
        """UIDs of pods that are gone, in whose places others will be."""
        self._users = {ip for pod in self.users for ip in _ips(pod)}

    @property
    def users(self) -> list[Pod]:
        """Those that may use addresses: an ended pod still reports the ones that it had."""
        return [
            pod for pod in self.pods if not pod.spec.host_network and pod.status.phase not in _OVER
        ]

    def of_uid(self, uid: str) -> Pod | None:
        """The pod with a UID."""
        return self._of_uid.get(uid)

    def nobody_has(self, uid: str, address: str) -> bool:
        """Whether no pod stands behind the word that one has an address."""
        gone = uid not in self._of_uid and uid not in self.expected
        return gone and not self.has_address(address)

    def has_address(self, address: str) -> bool:
        """Whether any pod uses an address."""
        return _canonical(address) in self._users

    def has_started(self, namespace: str, name: str) -> bool:
        """Whether there is a pod of that name with addresses."""
        pod = self._by_name.get(Key(namespace, name))
        return pod is not None and bool(pod.status.pod_ips)


def disagreements(
    pools: Iterable[SpiderIPPool], claims: Iterable[Claim], living: Living
) -> Iterator[Contradiction]:
    """All of them: between records and claims, among claims, and between pods and claims."""
    pools = sorted(pools, key=lambda pool: pool.metadata.name)
    claimed: dict[tuple[str, str], Claim] = {}
    for claim in claims:
        key = (claim.pool, _canonical(claim.address))
        first = claimed.setdefault(key, claim)
        if first is not claim:
            yield Contradiction(_about(*key), _said(first), _said(claim))
    recorded: set[tuple[str, str]] = set()
    for pool in pools:
        yield from _records(pool, claimed, recorded, living)
    for key, claim in claimed.items():
        if key not in recorded:
            leftover = living.nobody_has(claim.uid, claim.address)
            what = f"SpiderIPPool {claim.pool} has no record of it"
            yield Contradiction(_about(*key), _said(claim), what, leftover)
    yield from _unclaimed(pools, {key[1]: claim for key, claim in claimed.items()}, living)


def _records(
    pool: SpiderIPPool,
    claimed: dict[tuple[str, str], Claim],
    recorded: set[tuple[str, str]],
    living: Living,
) -> Iterator[Contradiction]:
    name = pool.metadata.name
    try:
        records = _decode_records(pool.status.allocated_ips or "{}")
    except msgspec.DecodeError as error:
        about = f"SpiderIPPool {name}"
        yield Contradiction(about, f"status.allocatedIPs cannot be read: {error}", "it is JSON")
        return
    for address, record in records.items():
        key = (name, _canonical(address))
        recorded.add(key)
        claim = claimed.get(key)
        one = f"SpiderIPPool {name}: pod {record.pod} ({record.pod_uid})"
        if claim is None:
            leftover = living.nobody_has(record.pod_uid, address)
            yield Contradiction(_about(*key), one, "no SpiderEndpoint has it", leftover)
        elif claim.uid != record.pod_uid:
            yield Contradiction(_about(*key), one, _said(claim))


def _unclaimed(
    pools: list[SpiderIPPool], claimed: dict[str, Claim], living: Living
) -> Iterator[Contradiction]:
    """Pods with an address of a pool that no endpoint says is theirs."""
    ranges = [(pool.metadata.name, *_usable(pool)) for pool in pools]
    for pod in living.users:
        for address in _ips(pod):
            claim = claimed.get(address)
            if claim is not None and living.of_uid(claim.uid) is pod:
                continue
            version, value = parse_ip(address)
            for name, ip_version, usable in ranges:
                if ip_version == version and contains(usable, value):
                    other = _said(claim) if claim else "no SpiderEndpoint has it"
                    yield Contradiction(_about(name, address), f"pod {pod.key} has it", other)


def _usable(pool: SpiderIPPool) -> tuple[int, Intervals]:
    """The addresses of a pool; none of one that cannot be read, which is told elsewhere."""
    try:
        spec = _decode_spec(pool.spec)
        version = 6 if any(":" in text for text in spec.ips) else 4
        ips = parse_ranges(spec.ips, version)
        return version, minus(ips, parse_ranges(spec.exclude_ips, version))
    except (msgspec.DecodeError, ValueError):
        return 0, ()


def _ips(pod: Pod) -> Iterator[str]:
    for one in pod.status.pod_ips:
        text = _canonical(one.ip)
        if text:
            yield text


def _canonical(address: str) -> str:
    """The address as this program writes it; '' of what is none."""
    try:
        return format_ip(*parse_ip(address))
    except ValueError:
        return ""


def _about(pool: str, address: str) -> str:
    return f"address {address} of pool {pool}"


def _said(claim: Claim) -> str:
    return f"SpiderEndpoint {claim.endpoint}: pod UID {claim.uid} interface {claim.interface}"
