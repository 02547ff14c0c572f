"""What docs/how-to/install.md installs with Helm, and what it is like to live with it.

The tests go on where the one before ended; the last one uninstalls it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from support.cluster.installation import NAMESPACE, POOL, POOL_NAME, ROOT, Installation, step
from support.cluster.kubectl import Kubectl
from support.cluster.pods import POLL_S, TIMEOUT_S, Running, deployment, until_running, workload
from support.keys import public_key
from support.program import Program, until

CAP_NET_RAW = 13


@pytest.fixture(scope="module")
def installation(operator: Installation) -> Installation:
    """What the page installs with Helm, and the page's pool."""
    operator.do("namespace", "keys", "install")
    operator.wait_ready()
    operator.pool()
    return operator


def places(pods: list[Running]) -> dict[str, tuple[str, ...]]:
    return {pod.name: pod.addresses for pod in pods}


def test_every_pod_is_ready_and_no_container_had_to_start_twice(
    installation: Installation,
) -> None:
    numbers = {"nats": 3, "engine": 3, "agent": 3, "controller": 2}
    pods = {component: installation.pods(component) for component in numbers}
    assert {component: len(found) for component, found in pods.items()} == numbers
    restarts = {
        f"{pod['metadata']['name']}/{status['name']}": status["restartCount"]
        for found in pods.values()
        for pod in found
        for status in pod["status"]["containerStatuses"]
    }
    assert not any(restarts.values()), restarts


def test_agents_are_ordinary_users_whom_root_alone_may_ask(installation: Installation) -> None:
    for machine in installation.machines:
        shown = machine.run("stat", "-c", "%u %a", "/run/ipledger/agent.sock")
        assert shown == "65532 600\n"
        kept = machine.run("sh", "-c", "stat -c %u /var/lib/ipledger /var/lib/ipledger/*")
        assert set(kept.split()) == {"65532"}
        assert machine.run("stat", "-c", "%u %a", "/opt/cni/bin/ipledger") == "0 755\n"


def test_pods_of_every_kind_get_addresses_and_kubectl_tells_whose_they_are(
    installation: Installation, kubectl: Kubectl, shop: str
) -> None:
    kubectl.apply(deployment(shop, "web", 4), workload("DaemonSet", shop, "probe", None))
    pods = until_running(kubectl, shop, 7)
    assert {pod.node for pod in pods} == {machine.name for machine in installation.machines}
    shell = installation.shell
    forward = Program("forward", step("forward").split(), installation.folder, shell.env)
    forward.launch()
    try:
        until(lambda: shell.run("echo > /dev/tcp/127.0.0.1/4222").returncode == 0, TIMEOUT_S)
        said = installation.do("look").splitlines()
    finally:
        forward.kill()
    for pod in pods:
        (line,) = [line for line in said if f" {pod.name} " in line]
        assert f" {pod.addresses[0]}/16 " in line
        assert f" {pod.node} " in line


@pytest.mark.usefixtures("installation")
def test_a_stateful_set_is_rebuilt_with_its_addresses(kubectl: Kubectl, shop: str) -> None:
    kubectl.apply(workload("StatefulSet", shop, "cart", 3))
    before = until_running(kubectl, shop, 3)
    kubectl("delete", "pods", "-n", shop, "--all")
    after = until_running(kubectl, shop, 3)
    assert places(after) == places(before)
    assert not {pod.uid for pod in after} & {pod.uid for pod in before}


def test_pods_get_addresses_though_the_engine_that_leads_is_killed(
    installation: Installation, kubectl: Kubectl, shop: str
) -> None:
    kubectl.apply(deployment(shop, "web", 3))
    until_running(kubectl, shop, 3)
    leader = installation.leader()
    kubectl("scale", "-n", shop, "deployment/web", "--replicas=12")
    kubectl("delete", "pod", "-n", NAMESPACE, leader, "--force", "--grace-period=0")
    until_running(kubectl, shop, 12)
    installation.wait_ready()


@pytest.mark.usefixtures("installation")
def test_the_webhook_is_asked(kubectl: Kubectl, shop: str) -> None:
    wrong = yaml.safe_load(POOL)
    wrong["metadata"]["name"], wrong["spec"]["ips"] = "wrong", ["10.7.0.1"]
    said = kubectl.run("apply", "-f", "-", stdin=yaml.safe_dump(wrong)).stderr
    assert "spec.ips[0]: '10.7.0.1'" in said
    kubectl.apply(deployment(shop, "web", 1))
    until_running(kubectl, shop, 1)
    assert "1 addresses in use" in kubectl.run("delete", "spiderippool", POOL_NAME).stderr


def test_an_engine_that_was_there_before_the_service_of_nats_starts_again(
    installation: Installation, kubectl: Kubectl
) -> None:
    service, engine = ("service", "-n", NAMESPACE, "ipledger-nats"), "ipledger-engine-0"
    was = yaml.safe_load(kubectl("get", *service, "-o", "yaml"))
    del was["metadata"]["resourceVersion"], was["metadata"]["uid"]
    kubectl("delete", *service)
    try:
        kubectl("delete", "pod", "-n", NAMESPACE, engine)
        until(lambda: "a variable that is not set" in installation.logs(engine), TIMEOUT_S, POLL_S)
    finally:
        kubectl.apply(was)
    installation.wait_ready()


def test_an_upgrade_goes_through_and_pods_get_addresses_meanwhile(
    installation: Installation, kubectl: Kubectl, shop: str
) -> None:
    secret = ("get", "secret", "-n", NAMESPACE, "ipledger-webhook", "-o", "jsonpath={.data}")
    certificate = kubectl(*secret)
    kubectl.apply(deployment(shop, "web", 3))
    kept = until_running(kubectl, shop, 3)
    changed = "--set controller.endpoints=true --set env[0].name=NOBODY,env[0].value=reads"
    installation.do("upgrade", more=changed)
    kubectl("scale", "-n", shop, "deployment/web", "--replicas=9")
    pods = until_running(kubectl, shop, 9)
    assert places(kept).items() <= places(pods).items()
    installation.wait_ready()
    assert kubectl(*secret) == certificate
    until(lambda: len(kubectl.get("spiderendpoints", "-n", shop)) == 9, TIMEOUT_S, POLL_S)


def test_agents_that_probe_are_the_same_users_with_one_capability(
    installation: Installation, kubectl: Kubectl, shop: str
) -> None:
    installation.do("upgrade", more="--set agent.probe.enabled=true")
    installation.wait_ready("daemonset/ipledger-agent")
    for machine in installation.machines:
        pid = machine.run("pgrep", "-f", f"ipledger agent --node={machine.name}").split()[0]
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        status = dict(line.split(":\t") for line in lines)
        assert status["Uid"].split() == ["65532"] * 4
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 1 << CAP_NET_RAW
    kubectl.apply(deployment(shop, "web", 3))
    until_running(kubectl, shop, 3)


def test_agents_work_with_keys_of_their_own_nodes(
    installation: Installation, kubectl: Kubectl, shop: str
) -> None:
    write, install = step("keys of nodes").splitlines()
    installation.shell(write)
    for machine in installation.machines:
        installation.shell(f"cp {installation.key(f'node-{machine.name}')} node-worker-1.nk")
        machine.run("sh", "-c", f"cd {installation.folder} && {install}")
    patch, _, reload = step("reload").rpartition("kubectl")
    installation.shell(patch)
    installation.wait_brought(public_key(installation.key(f"node-{installation.machines[0].name}")))
    for number in range(3):
        installation.shell(f"kubectl {reload}".replace("nats-0", f"nats-{number}"))
    installation.do("upgrade", more="--set nats.keys.nodeFile=/etc/ipledger/node.nk")
    installation.wait_ready()
    kubectl.apply(deployment(shop, "web", 3))
    until_running(kubectl, shop, 3)


def test_it_is_uninstalled_and_nothing_is_left(
    installation: Installation, kubectl: Kubectl
) -> None:
    installation.wait_no_pods()
    verified = installation.ipledger("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    installation.do("uninstall")
    for machine in installation.machines:
        machine.run("sh", "-ec", step("clean"))
        assert list(machine.conf_dir.iterdir()) == []
    kinds = "clusterroles,clusterrolebindings,validatingwebhookconfigurations,crd,namespaces"
    left = [one["metadata"]["name"] for one in kubectl.get(kinds)]
    assert [name for name in left if "ipledger" in name or "spider" in name] == []
    kubectl("apply", "-k", str(ROOT / "deploy/crds"))  # of the whole run
