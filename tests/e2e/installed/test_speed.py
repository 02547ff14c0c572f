"""How long fifty pods take, with controller, collector and webhook at work."""

from __future__ import annotations

import json

from support.cluster.ipam import PODS, Ipam, compare, hostlocal
from support.cluster.kubectl import Kubectl
from support.cluster.manifests import pool, put
from support.cluster.report import Report
from support.cluster.site import Site


def test_fifty_pods_up_and_down_on_two_machines_beside_host_local(
    kubectl: Kubectl, installed: Site, namespace: str, report: Report
) -> None:
    put(kubectl, pool("fifty", "10.89.0.0/16", "10.89.1.1-10.89.1.60"))
    annotations = {"ippool": json.dumps({"ipv4": ["fifty"]})}
    ours = Ipam("ipledger", installed.connect, lambda: len(installed.allocations()), annotations)
    rounds = compare(kubectl, namespace, (hostlocal(*installed.machines), ours), report, "all")
    assert len(rounds[-1]) == PODS
    assert all(address.startswith("10.89.1.") for address in rounds[-1])
    assert installed.pools()["fifty"].free == 60
