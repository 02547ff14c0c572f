"""Parts of the cluster that are killed while pods run and start: it costs nobody an address."""

from __future__ import annotations

from support.cluster.control_plane import ControlPlane
from support.cluster.kubectl import Kubectl
from support.cluster.manifests import POOLS, pool, put
from support.cluster.pods import POLL_S, deployment, until_running
from support.cluster.site import Site
from support.program import until

POOL = pool("troubled", "10.87.0.0/16", "10.87.1.1-10.87.1.40", default=True)


def test_an_api_server_that_is_killed(
    kubectl: Kubectl, installed: Site, namespace: str, cluster: ControlPlane
) -> None:
    put(kubectl, POOL)
    kubectl.apply(deployment(namespace, "web", 3))
    before = until_running(kubectl, namespace, 3)
    cluster.apiserver.kill()
    cluster.apiserver.start()
    cluster.apiserver.wait_for(lambda: kubectl.succeeds("get", "--raw", "/readyz"))

    kubectl("scale", "-n", namespace, "deployment/web", "--replicas=6")
    after = until_running(kubectl, namespace, 6)
    assert {(pod.uid, pod.addresses) for pod in before} < {(p.uid, p.addresses) for p in after}
    kubectl("patch", POOLS, "troubled", "--type=merge", "-p", '{"spec":{"gateway":"10.87.0.1"}}')
    until(lambda: installed.pools()["troubled"].gateway == "10.87.0.1", 60, POLL_S)
    assert not installed.collected(f"{namespace}/{before[0].name}")


def test_an_engine_that_is_killed_while_pods_start(
    kubectl: Kubectl, installed: Site, namespace: str
) -> None:
    put(kubectl, POOL)
    [engine] = installed.replicas.engines
    kubectl.apply(deployment(namespace, "web", 8))
    until(lambda: len(installed.allocations()) >= 2, 60, POLL_S)
    engine.kill()
    engine.launch()
    engine.wait_ready()
    pods = until_running(kubectl, namespace, 8)
    assert len({pod.addresses for pod in pods}) == 8
    assert len(installed.allocations()) == 8


def test_a_controller_that_is_killed_while_a_deployment_grows(
    kubectl: Kubectl, installed: Site, namespace: str
) -> None:
    put(kubectl, POOL)
    installed.controller.kill()
    try:
        kubectl.apply(deployment(namespace, "web", 4))
        pods = until_running(kubectl, namespace, 4)
    finally:
        installed.start_controller()

    def count() -> str:
        return kubectl("get", POOLS, "troubled", "-o", "jsonpath={.status.allocatedIPCount}")

    until(lambda: count() == "4", 60, POLL_S)
    assert not any(installed.collected(f"{namespace}/{pod.name}") for pod in pods)
