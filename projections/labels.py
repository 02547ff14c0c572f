"""The labels of an auto pool, as Spiderpool writes them on its own."""

from __future__ import annotations

from ipledger.events.facts import PoolSpec

_PREFIX = "ipam.spidernet.io/"


def auto_labels(spec: PoolSpec) -> dict[str, str]:
    """The labels of an auto pool; a pool that somebody applied has none of them."""
    auto = spec.auto
    if auto is None:
        return {}
    labels = {
        "owner-spider-subnet": auto.subnet,
        "owner-application-gv": auto.owner.api_version.replace("/", "_"),
        "owner-application-kind": auto.owner.kind,
        "owner-application-namespace": auto.namespace,
        "owner-application-name": auto.owner.name,
        "owner-application-uid": auto.owner.uid,
        "interface": auto.interface,
        "ip-version": f"IPv{spec.ip_version}",
        "ippool-reclaim": "true" if auto.reclaim else "false",
        "ippool-cidr": spec.subnet.replace(".", "-").replace(":", "-").replace("/", "-"),
    }
    return {_PREFIX + key: value for key, value in labels.items()}
