"""A cluster with Spiderpool in it, at the API server double: what its controllers would write."""

from __future__ import annotations

import json
from typing import Any

from support.apiserver import ApiServer
from support.kube import API_VERSION, defined, make, workload


class SpiderpoolCluster:
    """Puts pools, pods and the records of who has what into an API server that is `defined`."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self._records: dict[str, dict[str, dict[str, str]]] = {}

    def pool(self, name: str, subnet: str, *ips: str, **more: Any) -> None:
        """A pool; `labels` are of its metadata, all else of its specification."""
        labels = more.pop("labels", {})
        spec = {"subnet": subnet, "ips": list(ips), **more}
        body = {"metadata": {"name": name, "labels": labels}, "spec": spec}
        self.server.create(API_VERSION, "spiderippools", body)
        self._records[name] = {}

    def reservation(self, name: str, *ips: str) -> None:
        """A reservation."""
        body = {"metadata": {"name": name}, "spec": {"ips": list(ips)}}
        self.server.create(API_VERSION, "spiderreservedips", body)

    def subnet(self, name: str, subnet: str, *ips: str) -> None:
        """A subnet."""
        make(self.server, "spidersubnets", name, subnet=subnet, ips=list(ips))

    def deployment(self, name: str, replicas: int, **annotations: str) -> str:
        """A Deployment whose pods have such annotations (`__` for `-`). Returns its UID."""
        return workload(self.server, "deployments", name, replicas, **annotations)

    def auto_pool(self, owner: str, uid: str, *ips: str, **more: Any) -> str:
        """The pool of a Deployment's eth0, as Spiderpool makes one of the subnet blue.

        `name` is another name than the one that it would have, and `labels` are others, too.
        """
        labels = {
            "owner-spider-subnet": "blue",
            "owner-application-gv": "apps_v1",
            "owner-application-kind": "Deployment",
            "owner-application-namespace": "shop",
            "owner-application-name": owner,
            "owner-application-uid": uid,
            "interface": "eth0",
            "ip-version": "IPv4",
            "ippool-reclaim": "true",
            "ippool-cidr": "10-1-0-0-16",
            **more.pop("labels", {}),
        }
        selector = {
            "app-api-group": "apps",
            "app-api-version": "v1",
            "app-kind": "Deployment",
            "app-namespace": "shop",
            "app-name": owner,
        }
        name: str = more.pop("name", f"auto4-{owner}-eth0-{uid.rpartition('-')[2][:5]}")
        own = {f"ipam.spidernet.io/{key}": value for key, value in selector.items()}
        self.pool(
            name,
            more.pop("subnet", "10.1.0.0/16"),
            *ips,
            labels={f"ipam.spidernet.io/{key}": value for key, value in labels.items()},
            podAffinity={"matchLabels": own},
            **more,
        )
        return name

    def stateful_set(self, name: str, replicas: int) -> dict[str, Any]:
        """A StatefulSet, and the reference of its pods to it."""
        body = {"metadata": {"name": name}, "spec": {"replicas": replicas}}
        made = self.server.create("apps/v1", "statefulsets", body, "shop")
        uid = made["metadata"]["uid"]
        reference = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": name, "uid": uid}
        return {**reference, "controller": True}

    def pod(self, name: str, *ips: str, node: str = "n1", owner: Any = None, **meta: Any) -> str:
        """A pod with addresses. Returns its UID."""
        metadata = {"name": name, "ownerReferences": [owner] if owner else [], **meta}
        body = {"metadata": metadata, "spec": {"nodeName": node}}
        made = self.server.create("v1", "pods", body, "shop")
        reported = [{"ip": ip} for ip in ips]
        self.server.change("pods", name, "shop", status={"phase": "Running", "podIPs": reported})
        uid: str = made["metadata"]["uid"]
        return uid

    def endpoint(
        self,
        name: str,
        uid: str,
        *ips: dict[str, str],
        node: str = "n1",
        owner: tuple[str, str] = ("Pod", ""),
    ) -> None:
        """An endpoint, which says what a pod has."""
        self.server.create(API_VERSION, "spiderendpoints", {"metadata": {"name": name}}, "shop")
        status = {
            "current": {"uid": uid, "node": node, "ips": list(ips)},
            "ownerControllerType": owner[0],
            "ownerControllerName": owner[1] or name,
        }
        self.server.change("spiderendpoints", name, "shop", status=status)

    def record(self, pool: str, ip: str, name: str, uid: str) -> None:
        """A pool's own record of an address."""
        records = self._records[pool]
        records[ip] = {"pod": f"shop/{name}", "podUid": uid}
        status = {"allocatedIPs": json.dumps(records), "allocatedIPCount": len(records)}
        self.server.change("spiderippools", pool, status=status)

    def running(self, name: str, pool: str, ip: str, length: int = 24, **more: Any) -> str:
        """A pod, its endpoint and its record, which agree. Returns its UID."""
        owner = more.get("owner")
        uid = self.pod(name, ip, **more)
        top = (owner["kind"], owner["name"]) if owner else ("Pod", "")
        has = v4(ip, pool, length=length)
        self.endpoint(name, uid, has, node=more.get("node", "n1"), owner=top)
        self.record(pool, ip, name, uid)
        return uid


def v4(ip: str, pool: str, interface: str = "eth0", length: int = 24) -> dict[str, str]:
    """An interface's IPv4 address, as an endpoint has it."""
    return {"interface": interface, "ipv4": f"{ip}/{length}", "ipv4Pool": pool}


def small(server: ApiServer) -> SpiderpoolCluster:
    """Two pools, a reservation of an address in use, a StatefulSet of two pods, a pod of dual
    stack with a second interface, and a StatefulSet's pod that is just being rebuilt."""
    cluster = SpiderpoolCluster(defined(server))
    cluster.pool("a", "10.1.0.0/24", "10.1.0.10-10.1.0.99", gateway="10.1.0.1", default=True)
    cluster.pool("six", "fd00:1::/64", "fd00:1::10-fd00:1::ff")
    cluster.reservation("kept", "10.1.0.12")
    owner = cluster.stateful_set("cart", 2)
    cluster.running("cart-0", "a", "10.1.0.10", owner=owner)
    cluster.endpoint("cart-1", "uid-before", v4("10.1.0.11", "a"), owner=("StatefulSet", "cart"))
    cluster.record("a", "10.1.0.11", "cart-1", "uid-before")
    cluster.running("web-0", "a", "10.1.0.12", node="n2")
    uid = cluster.pod("web-1", "10.1.0.13", "fd00:1::10")
    both = {**v4("10.1.0.13", "a"), "ipv6": "fd00:1::10/64", "ipv6Pool": "six"}
    cluster.endpoint("web-1", uid, both, v4("10.1.0.14", "a", "net1"))
    for pool, ip in (("a", "10.1.0.13"), ("a", "10.1.0.14"), ("six", "fd00:1::10")):
        cluster.record(pool, ip, "web-1", uid)
    return cluster


def with_auto_pool(server: ApiServer) -> tuple[SpiderpoolCluster, str]:
    """A subnet, and a Deployment of two pods with one spare address in a pool of its own.

    Returns the pool's name, too. The server is `defined` already.
    """
    cluster = SpiderpoolCluster(server)
    cluster.subnet("blue", "10.1.0.0/16", "10.1.0.10-10.1.0.99")
    asks = {"subnet": '{"ipv4":["blue"]}', "ippool__ip__number": "+1"}
    uid = cluster.deployment("web", 2, **asks)
    pool = cluster.auto_pool("web", uid, "10.1.0.20-10.1.0.22")
    for number in (1, 2):
        replica_set = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": "web-5d",
            "uid": "uid-of-web-5d",
            "controller": True,
        }
        ip, name = f"10.1.0.{20 + number}", f"web-5d-{number}"
        pod = cluster.pod(name, ip, owner=replica_set)
        cluster.endpoint(name, pod, v4(ip, pool, length=16), owner=("Deployment", "web"))
        cluster.record(pool, ip, name, pod)
    return cluster, pool
